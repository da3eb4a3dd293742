/* Marks in the stream of instructions: a no-op with a displacement that no compiler writes, nopl MARK(%rax,%rax,1). */
#define MARK_BEGIN 0x31
#define MARK_END 0x32
#define MARK_BYTES(which) 0x0f, 0x1f, 0x84, 0x00, which, 0x42, 0x4c, 0x58
