/* A plugin of QEMU's TCG for `cargo xtask profile`: how often each instruction of the hypervisor and of the guests' kernels is
   executed, and how many instructions of programs are. Argument: out=FILE. A line for each: "ADDRESS COUNT" in hexadecimal and
   decimal, then "other COUNT", of kernels for which there was no room, and "user COUNT". */
#include "qemu_plugin.h"

/* A hash table of instructions: where one's address is, its counter is, too. */
#define PLACE_BITS 21
#define PLACES ((size_t)1 << PLACE_BITS)
#define OTHER PLACES
#define USER (PLACES + 1)

static uint64_t addresses[PLACES];
static size_t used;
static struct qemu_plugin_scoreboard *score;
static char *output;

static qemu_plugin_u64 counter(size_t slot)
{
    qemu_plugin_u64 entry = {score, slot * sizeof(uint64_t)};
    return entry;
}

static size_t slot_of(uint64_t address)
{
    size_t place = address * 0x9e3779b97f4a7c15ULL >> (64 - PLACE_BITS);

    if (!(address >> 63))
        return USER;
    while (addresses[place] && addresses[place] != address)
        place = (place + 1) % PLACES;
    if (!addresses[place]) {
        if (used == PLACES / 2)
            return OTHER;
        used++;
        addresses[place] = address;
    }
    return place;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        size_t slot = slot_of(qemu_plugin_insn_vaddr(instruction));

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
    for (size_t place = 0; place < PLACES; place++) {
        uint64_t count = qemu_plugin_u64_sum(counter(place));
        if (count)
            fprintf(file, "%" PRIx64 " %" PRIu64 "\n", addresses[place], count);
    }
    fprintf(file, "other %" PRIu64 "\nuser %" PRIu64 "\n", qemu_plugin_u64_sum(counter(OTHER)), qemu_plugin_u64_sum(counter(USER)));
    fclose(file);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0) {
        fprintf(stderr, "the plugin takes out=FILE\n");
        return -1;
    }
    output = strdup(argv[0] + 4);
    score = qemu_plugin_scoreboard_new((PLACES + 2) * sizeof(uint64_t));
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, at_exit, NULL);
    return 0;
}
