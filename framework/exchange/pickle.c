/* exchange/pickle: files that hold a Python pickle are recognised, so that they can be refused with a reason. */
#include <string.h>

#include "base/fs.h"
#include "exchange/formats.h"

/* A pickle of protocol 2 to 5 begins with PROTO and the number; PyTorch's files before 1.6 do. Protocol 0 and 1 have no mark, so the
 * ending of the name speaks. */
static bool begins_as_pickle(const qsr_map *map) { return map->size > 2 && map->bytes[0] == 0x80 && map->bytes[1] >= 2 && map->bytes[1] <= 5; }

static bool named_as_pickle(const char *path)
{
    static const char *const endings[] = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (qsr_ends_with(path, endings[i])) return true;
    return false;
}

qsr_status qsr_pickle_refuse(const char *path, qsr_error *e)
{
    qsr_map map;
    bool holds = false;
    if (!qsr_exists(path) || qsr_is_folder(path) || qsr_map_open(path, &map, NULL)) return QSR_OK;
    const char *what = begins_as_pickle(&map) ? "a Python pickle" : named_as_pickle(path) ? "named like a Python pickle" : NULL;
    qsr_map_close(&map);
    if (qsr_zip_has(path, "data.pkl", &holds) && holds) what = "a PyTorch archive with a pickle in it";
    if (!what) return QSR_OK;
    return qsr_fail(e, QSR_E_INPUT,
                    "%s is %s: reading one can run any program, so Quasar never does. Convert it in Python: "
                    "safetensors.torch.save_file({k: v.contiguous() for k, v in torch.load('%s', weights_only=True).items()}, "
                    "'sae_weights.safetensors'), and write a cfg.json beside it (docs/SAES.md)",
                    path, what, qsr_path_base(path));
}
