/* plugin/elf: whether a shared object is whole, and what it shows to others. */
#ifndef QSR_PLUGIN_ELF_H
#define QSR_PLUGIN_ELF_H
#include "base/text.h"

/* Appends the names of the exported symbols of a 64-bit ELF file of this machine's byte order, separated by ", ", and counts
 * them; those of the toolchain (reserved names such as _init, __bss_start) are left out. A file that is damaged or of another
 * format is QSR_E_INPUT. */
qsr_status qsr_elf_exports(const char *path, qsr_text *out, size_t *ret_count, qsr_error *e);

/* QSR_E_INPUT unless the file holds all that its segments promise: dlopen maps them unseen, and relocating one that was cut
 * short would end the program (SIGBUS). */
qsr_status qsr_elf_check(const char *path, qsr_error *e);
#endif
