#include "plugin/elf.h"

#include <elf.h>
#include <string.h>

#include "base/fs.h"
#include "base/sizes.h"

/* n items of `size` bytes at `offset` lie within the file. */
static bool within(const qsr_map *map, uint64_t offset, uint64_t n, uint64_t size)
{
    size_t bytes, end;
    return qsr_mul_size(n, size, &bytes) && qsr_add_size(offset, bytes, &end) && end <= map->size;
}

static qsr_status read_header(const qsr_map *map, const char *path, Elf64_Ehdr *ret, qsr_error *e)
{
    if (map->size < sizeof *ret || memcmp(map->bytes, ELFMAG, SELFMAG) != 0 || map->bytes[EI_CLASS] != ELFCLASS64)
        return qsr_fail(e, QSR_E_INPUT, "%s is no 64-bit ELF file", path);
    memcpy(ret, map->bytes, sizeof *ret);
    if (ret->e_shentsize != sizeof(Elf64_Shdr) || !within(map, ret->e_shoff, ret->e_shnum, sizeof(Elf64_Shdr)))
        return qsr_fail(e, QSR_E_INPUT, "%s has no usable section table", path);
    return QSR_OK;
}

static bool find_section(const qsr_map *map, const Elf64_Ehdr *header, uint32_t type, Elf64_Shdr *ret)
{
    for (size_t i = 0; i < header->e_shnum; i++) {
        memcpy(ret, map->bytes + header->e_shoff + i * sizeof *ret, sizeof *ret);
        if (ret->sh_type == type) return true;
    }
    return false;
}

static bool exported(const Elf64_Sym *symbol)
{
    unsigned bind = ELF64_ST_BIND(symbol->st_info), visibility = ELF64_ST_VISIBILITY(symbol->st_other);
    return symbol->st_shndx != SHN_UNDEF && bind != STB_LOCAL && visibility != STV_HIDDEN && visibility != STV_INTERNAL;
}

/* ISO C reserves names with a leading underscore at file scope for the implementation, and a sanitizer's begin with one. */
static bool of_toolchain(const char *name) { return name[0] == '_' || name[0] == 0; }

static qsr_status list_symbols(const qsr_map *map, const Elf64_Shdr *table, const Elf64_Shdr *strings, qsr_text *out,
                               size_t *ret_count, qsr_error *e)
{
    const char *names = (const char *)map->bytes + strings->sh_offset;
    if (!within(map, table->sh_offset, table->sh_size, 1) || !within(map, strings->sh_offset, strings->sh_size, 1) ||
        strings->sh_size == 0 || names[strings->sh_size - 1] != 0)
        return qsr_fail(e, QSR_E_INPUT, "its symbol table lies outside the file");
    for (size_t i = 0; i < table->sh_size / sizeof(Elf64_Sym); i++) {
        Elf64_Sym symbol;
        memcpy(&symbol, map->bytes + table->sh_offset + i * sizeof symbol, sizeof symbol);
        if (!exported(&symbol) || symbol.st_name >= strings->sh_size || of_toolchain(names + symbol.st_name)) continue;
        qsr_text_add(out, "%s%s", *ret_count ? ", " : "", names + symbol.st_name);
        ++*ret_count;
    }
    return QSR_OK;
}

static qsr_status list_exports(const qsr_map *map, const char *path, qsr_text *out, size_t *ret_count, qsr_error *e)
{
    Elf64_Ehdr header;
    Elf64_Shdr table, strings;
    qsr_status status = read_header(map, path, &header, e);
    if (status) return status;
    if (!find_section(map, &header, SHT_DYNSYM, &table) || table.sh_link >= header.e_shnum)
        return qsr_fail(e, QSR_E_INPUT, "%s has no table of dynamic symbols", path);
    memcpy(&strings, map->bytes + header.e_shoff + table.sh_link * sizeof strings, sizeof strings);
    return list_symbols(map, &table, &strings, out, ret_count, e);
}

qsr_status qsr_elf_exports(const char *path, qsr_text *out, size_t *ret_count, qsr_error *e)
{
    qsr_map map;
    *ret_count = 0;
    qsr_status status = qsr_map_open(path, &map, e);
    if (status) return status;
    status = list_exports(&map, path, out, ret_count, e);
    qsr_map_close(&map);
    return status;
}

/* ---- before loading ------------------------------------------------------------------------------------------------ */

static qsr_status check_segments(const qsr_map *map, const char *path, qsr_error *e)
{
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    if (map->size < sizeof header || memcmp(map->bytes, ELFMAG, SELFMAG) != 0 || map->bytes[EI_CLASS] != ELFCLASS64)
        return qsr_fail(e, QSR_E_INPUT, "cannot load %s: it is no shared object (a 64-bit ELF file)", path);
    memcpy(&header, map->bytes, sizeof header);
    if (header.e_phentsize != sizeof segment || !within(map, header.e_phoff, header.e_phnum, sizeof segment))
        return qsr_fail(e, QSR_E_INPUT, "cannot load %s: it is truncated: its %zu bytes end before its table of segments", path,
                        map->size);
    for (size_t i = 0; i < header.e_phnum; i++) {
        memcpy(&segment, map->bytes + header.e_phoff + i * sizeof segment, sizeof segment);
        if (segment.p_type == PT_LOAD && !within(map, segment.p_offset, 1, segment.p_filesz))
            return qsr_fail(e, QSR_E_INPUT, "cannot load %s: it is truncated: segment %zu ends beyond its %zu bytes", path, i,
                            map->size);
    }
    return QSR_OK;
}

qsr_status qsr_elf_check(const char *path, qsr_error *e)
{
    qsr_map map;
    qsr_status status = qsr_map_open(path, &map, e);
    if (status) return status;
    status = check_segments(&map, path, e);
    qsr_map_close(&map);
    return status;
}
