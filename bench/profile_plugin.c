/* A plugin of QEMU's TCG for `cargo xtask profile`: how often each instruction of the hypervisor's image is executed, and how many
   instructions of the guests' kernels and programs are. Argument: out=FILE. A line for each: "OFFSET COUNT" in hexadecimal and
   decimal, then "kernel COUNT" and "user COUNT". */
#include "qemu_plugin.h"

/* Where the image is linked (image/link.ld), and more than its code is long. */
#define BASE 0xffff82d040000000ULL
#define CODE ((size_t)0x200000)
#define KERNEL CODE
#define USER (CODE + 1)

static struct qemu_plugin_scoreboard *score;
static char *output;

static qemu_plugin_u64 counter(size_t slot)
{
    qemu_plugin_u64 entry = {score, slot * sizeof(uint64_t)};
    return entry;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        uint64_t address = qemu_plugin_insn_vaddr(instruction);
        size_t slot = address - BASE < CODE ? address - BASE : address >> 63 ? KERNEL : USER;

        qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(instruction, QEMU_PLUGIN_INLINE_ADD_U64, counter(slot), 1);
    }
}

static void at_exit(qemu_plugin_id_t id, void *data)
{
    FILE *file = fopen(output, "w");

    if (!file) {
        perror(output);
        return;
    }
    for (size_t slot = 0; slot < CODE; slot++) {
        uint64_t count = qemu_plugin_u64_sum(counter(slot));
        if (count)
            fprintf(file, "%zx %" PRIu64 "\n", slot, count);
    }
    fprintf(file, "kernel %" PRIu64 "\nuser %" PRIu64 "\n", qemu_plugin_u64_sum(counter(KERNEL)),
            qemu_plugin_u64_sum(counter(USER)));
    fclose(file);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0) {
        fprintf(stderr, "the plugin takes out=FILE\n");
        return -1;
    }
    output = strdup(argv[0] + 4);
    score = qemu_plugin_scoreboard_new((CODE + 2) * sizeof(uint64_t));
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, at_exit, NULL);
    return 0;
}
