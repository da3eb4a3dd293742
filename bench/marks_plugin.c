/* A plugin of QEMU's TCG: how many instructions the whole machine executes between two marks that a program sets
   (bench/measured.c), whichever domain it runs in. What is executed counts, waiting does not, though the virtual clock goes on.
   Argument: out=FILE. A line for each mark: "begin HYPERVISOR KERNEL PROGRAM" or "end …", the counts since power-on. */
#include "qemu_plugin.h"
#include "mark.h"

enum { HYPERVISOR, KERNEL, PROGRAM, PLACES };

static struct qemu_plugin_scoreboard *score;
static FILE *output;

static qemu_plugin_u64 counter(size_t place)
{
    qemu_plugin_u64 entry = {score, place * sizeof(uint64_t)};
    return entry;
}

static void marked(unsigned int vcpu, void *name)
{
    fprintf(output, "%s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", (const char *)name, qemu_plugin_u64_sum(counter(HYPERVISOR)),
            qemu_plugin_u64_sum(counter(KERNEL)), qemu_plugin_u64_sum(counter(PROGRAM)));
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    static const unsigned char begin[] = {MARK_BYTES(MARK_BEGIN)}, end[] = {MARK_BYTES(MARK_END)};

    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        uint64_t address = qemu_plugin_insn_vaddr(instruction);
        size_t place = !(address >> 63) ? PROGRAM : address >= HYPERVISOR_START && address < HYPERVISOR_END ? HYPERVISOR : KERNEL;
        unsigned char bytes[sizeof begin];

        qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(instruction, QEMU_PLUGIN_INLINE_ADD_U64, counter(place), 1);
        if (qemu_plugin_insn_data(instruction, bytes, sizeof bytes) != sizeof bytes)
            continue;
        if (memcmp(bytes, begin, sizeof bytes) == 0)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, marked, QEMU_PLUGIN_CB_NO_REGS, "begin");
        else if (memcmp(bytes, end, sizeof bytes) == 0)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, marked, QEMU_PLUGIN_CB_NO_REGS, "end");
    }
}

static void at_exit(qemu_plugin_id_t id, void *data)
{
    fclose(output);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0) {
        fprintf(stderr, "the plugin takes out=FILE\n");
        return -1;
    }
    output = fopen(argv[0] + 4, "w");
    if (!output) {
        perror(argv[0] + 4);
        return -1;
    }
    setvbuf(output, NULL, _IOLBF, 0);
    score = qemu_plugin_scoreboard_new(PLACES * sizeof(uint64_t));
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, at_exit, NULL);
    return 0;
}
