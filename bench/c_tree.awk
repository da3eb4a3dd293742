# A fixed tree of C files as a kernel has them, for `cargo xtask bench loads` to compile and to pack: headers full of
# constants and small inline functions, and sources that include several. mawk -v directory=DIR -v files=N -f c_tree.awk

# The same numbers each time: Lehmer's generator, within what a double holds exactly.
function random(below) {
    state = (state * 16807) % 2147483647
    return state % below
}

function header(number,    file, line, name) {
    file = directory "/include/device_" number ".h"
    name = "device_" number
    print "#ifndef DEVICE_" number "_H\n#define DEVICE_" number "_H\n#include \"types.h\"\n" > file
    for (line = 0; line < 120; line++)
        printf "#define DEVICE_%d_REGISTER_%d 0x%04x /* %s, bits %d to %d */\n", number, line, line * 4,
            (random(2) ? "read only" : "read and write"), random(16), 16 + random(16) > file
    print "\nstruct " name " {\n\tstruct list queue;\n\tu32 registers[120];\n\tu64 bytes, packets, errors;\n\tint (*reset)(struct " name " *, u32);" > file
    for (line = 0; line < 12; line++) print "\tu" (8 * 2 ^ random(4)) " field_" line ";" > file
    print "};\n" > file
    for (line = 0; line < 8; line++)
        printf "static inline u32 %s_read_%d(const struct %s *device)\n{\n\treturn (device->registers[DEVICE_%d_REGISTER_%d] >> %d) & 0x%x;\n}\n\n",
            name, line, name, number, random(30), random(16), random(65536) > file
    print "#endif" > file
    close(file)
}

function source(number,    file, part, step, device) {
    file = directory "/unit_" number ".c"
    for (part = 0; part < 5; part++) print "#include \"device_" (number + part * 7) % headers ".h\"" > file
    for (part = 0; part < 10; part++) {
        device = (number + random(5) * 7) % headers
        printf "\n/* Part %d of unit %d: what arrives is looked through, counted and passed on. */\nstatic u32 part_%d(struct device_%d *device, u32 argument)\n{\n\tu32 sum = argument, index;\n\tstruct list *entry;\n\n", part, number, part, device > file
        printf "\tfor (index = 0; index < %d; index++) {\n\t\tif (device->registers[index] & (1u << (index %% 32)))\n\t\t\tsum += device_%d_read_%d(device) * index;\n\t\telse if (sum > 0x%x)\n\t\t\tsum ^= (u32)device->bytes;\n\t}\n", 8 + random(100), device, random(8), random(1000000) > file
        print "\tlist_for_each(entry, &device->queue)\n\t\tdevice->packets++;\n\tswitch (sum % 8) {" > file
        for (step = 0; step < 6; step++)
            printf "\tcase %d:\n\t\tdevice->field_%d += sum >> %d;\n\t\tsum = sum * %du + DEVICE_%d_REGISTER_%d;\n\t\tbreak;\n", step, random(12), random(24), random(100000), device, random(120) > file
        print "\tdefault:\n\t\tdevice->errors++;\n\t\tif (device->reset && device->reset(device, sum))\n\t\t\treturn 0;\n\t}\n\treturn sum;\n}" > file
        of[part] = device
    }
    printf "\nu32 unit_%d(void **devices)\n{\n\tu32 sum = %d;\n\n", number, number > file
    for (part = 0; part < 10; part++) printf "\tsum += part_%d(devices[%d], sum);\n", part, of[part] > file
    print "\treturn sum;\n}" > file
    close(file)
}

BEGIN {
    state = 20241
    headers = 24
    types = directory "/include/types.h"
    print "#ifndef TYPES_H\n#define TYPES_H\ntypedef unsigned char u8;\ntypedef unsigned short u16;\ntypedef unsigned int u32;\ntypedef unsigned long u64;\n" > types
    print "struct list {\n\tstruct list *next, *previous;\n};\n\nstatic inline void list_add(struct list *entry, struct list *head)\n{\n\tentry->next = head->next;\n\tentry->previous = head;\n\thead->next->previous = entry;\n\thead->next = entry;\n}\n" > types
    print "#define list_for_each(entry, head) for (entry = (head)->next; entry != (head); entry = entry->next)\n#endif" > types
    for (number = 0; number < headers; number++) header(number)
    for (number = 0; number < files; number++) source(number)
    start = directory "/start.c"
    print "#include \"types.h\"" > start
    for (number = 0; number < files; number++) print "u32 unit_" number "(void **);" > start
    print "\nstatic void *devices[" headers "];\n\nvoid _start(void)\n{\n\tu32 sum = 0;\n" > start
    for (number = 0; number < files; number++) print "\tsum ^= unit_" number "(devices);" > start
    print "\tfor (;;)\n\t\tdevices[0] = (void *)(u64)sum;\n}" > start
}
