#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "format/json.h"
#include "report/figures.h"

enum { RESULT_BYTES = 64 << 20, MOST_BINS = 1 << 20, MOST_DRAWN = 64, MOST_LINES = 8 };

/* A histogram of result.json: what is counted, in bins of equal width. */
typedef struct {
    double low, width;
    double *shares; /* [n] of all that was counted */
    size_t n;
    double rest; /* the share in no bin */
} histogram;

typedef struct {
    const char *key, *low, *width, *counts, *rest; /* of the object and its members */
} histogram_keys;

static json_t *read_result(const qsr_record *record)
{
    qsr_arena arena = {0};
    qsr_error e = {0};
    json_t *root = NULL;
    if (qsr_json_read(qsr_path_join(&arena, record->path, "result.json"), RESULT_BYTES, &root, &e))
        qsr_log(QSR_LOG_WARNING, "%s", e.text);
    qsr_arena_free(&arena);
    return root;
}

static bool read_histogram(const qsr_record *record, const histogram_keys *keys, histogram *ret)
{
    json_t *root = read_result(record), *object = json_object_get(root, keys->key),
           *counts = json_object_get(object, keys->counts);
    size_t n = json_array_size(counts);
    *ret = (histogram){.low = json_number_value(json_object_get(object, keys->low)),
                       .width = json_number_value(json_object_get(object, keys->width))};
    bool usable = n > 0 && n <= MOST_BINS && isfinite(ret->low) && ret->width > 0;
    if (usable) {
        double rest = keys->rest ? json_number_value(json_object_get(object, keys->rest)) : 0, sum = rest;
        ret->shares = qsr_xcalloc(n, sizeof *ret->shares);
        ret->n = n;
        for (size_t i = 0; i < n; i++) sum += ret->shares[i] = fmax(json_number_value(json_array_get(counts, i)), 0);
        for (size_t i = 0; i < n && sum > 0; i++) ret->shares[i] /= sum;
        ret->rest = sum > 0 ? rest / sum : 0;
        usable = sum > 0;
    }
    if (!usable) {
        free(ret->shares);
        *ret = (histogram){0};
    }
    json_decref(root);
    return usable;
}

/* What is drawn: all histograms on the same bins, cut to where some hold something and made coarser where they are too many. */
typedef struct {
    double low, width;
    size_t first, bins, each; /* bins [first, first + bins * each) of the files, `each` of them as one */
    double highest;           /* share of such a bin, percent */
    size_t n;
} extent;

static double share_at(const histogram *h, const extent *x, size_t bin)
{
    double sum = 0;
    for (size_t i = 0; i < x->each; i++) {
        size_t at = x->first + bin * x->each + i;
        if (at < h->n) sum += h->shares[at];
    }
    return 100 * sum;
}

/* Histograms with other bins than the first cannot be drawn beside it. */
static bool fits(const histogram *h, const extent *x) { return h->n && h->low == x->low && h->width == x->width; }

static extent find_extent(const histogram *all, size_t n)
{
    extent x = {.each = 1};
    size_t last = 0;
    x.first = MOST_BINS;
    for (size_t i = 0; i < n; i++) {
        if (!all[i].n) continue;
        if (!x.n) x.low = all[i].low, x.width = all[i].width;
        if (!fits(&all[i], &x)) continue;
        x.n++;
        for (size_t b = 0; b < all[i].n; b++)
            if (all[i].shares[b] > 0) {
                if (b < x.first) x.first = b;
                if (b + 1 > last) last = b + 1;
            }
    }
    if (!x.n || last <= x.first) return (extent){0};
    x.each = (last - x.first + MOST_DRAWN - 1) / MOST_DRAWN;
    x.bins = (last - x.first + x.each - 1) / x.each;
    for (size_t i = 0; i < n; i++)
        for (size_t b = 0; fits(&all[i], &x) && b < x.bins; b++) x.highest = fmax(x.highest, share_at(&all[i], &x, b));
    return x;
}

static double left_of(const extent *x, size_t bin) { return x->low + x->width * (double)(x->first + bin * x->each); }

/* An outline of steps that begins and ends at zero. */
static void draw_steps(const qsr_study *s, size_t setting, const histogram *h, const extent *x, qsr_figure *f)
{
    size_t block = qsr_figure_block(f, "%s: bin, percent", s->settings[setting].label);
    const double begin[] = {left_of(x, 0), 0}, end[] = {left_of(x, x->bins), 0};
    qsr_figure_row(f, begin, 2);
    for (size_t b = 0; b < x->bins; b++) {
        const double left[] = {left_of(x, b), share_at(h, x, b)}, right[] = {left_of(x, b + 1), share_at(h, x, b)};
        qsr_figure_row(f, left, 2);
        qsr_figure_row(f, right, 2);
    }
    qsr_figure_row(f, end, 2);
    qsr_figure_style style = qsr_figure_style_of(s, setting);
    qsr_figure_draw(f, block, style.title, "using 1:2 with lines lw 1.4 lc rgb '%s'", qsr_figure_colour(style.index));
}

/* A row of boxes at the setting's number, the stronger the more of its own largest share; a colour with its transparency is 0xttrrggbb. */
static void put_boxes(size_t setting, const histogram *h, const extent *x, qsr_figure *f)
{
    double largest = 0;
    for (size_t b = 0; b < x->bins; b++) largest = fmax(largest, share_at(h, x, b));
    for (size_t b = 0; b < x->bins; b++) {
        double share = share_at(h, x, b), y = (double)setting + 1;
        if (share <= 0) continue;
        unsigned clear = 255 - (unsigned)(255 * pow(share / largest, 0.7));
        const double row[] = {
            (left_of(x, b) + left_of(x, b + 1)) / 2, y, left_of(x, b), left_of(x, b + 1), y - 0.42, y + 0.42, share,
            (double)(clear << 24 | 0x0072b2u)};
        for (size_t i = 0; i < 7; i++) qsr_text_add(&f->table, "%.7g\t", row[i]);
        qsr_text_add(&f->table, "%.0f\n", row[7]);
        f->rows++;
    }
}

static void draw_map(const qsr_study *s, const histogram *all, const extent *x, qsr_figure *f)
{
    size_t block = qsr_figure_block(f, "middle, setting, ends of the bin, ends of the row, percent, colour");
    size_t first = s->n_settings, last = 0;
    for (size_t i = 0; i < s->n_settings; i++) {
        if (!fits(&all[i], x)) continue;
        put_boxes(i, &all[i], x, f);
        if (first > i) first = i;
        last = i;
    }
    f->height = 110 + 14 * (unsigned)(last - first + 1);
    if (f->height < 330) f->height = 330;
    qsr_figure_draw(f, block, NULL, "using 1:2:3:4:5:6:8 with boxxyerror lc rgb variable fillstyle solid noborder");
    f->numbered = true;
    qsr_figure_set_text(f, "ylabel", "number of the setting");
    qsr_figure_set(f, "set yrange [%.1f:%.1f]\nunset key", (double)last + 1.5, (double)first + 0.5);
    qsr_text_puts(&f->caption, " A row is a setting: the stronger the colour, the nearer to its own largest share.");
}

static void draw_all(const qsr_study *s, const histogram_keys *keys, const char *label, qsr_figure *f)
{
    histogram *all = qsr_xcalloc(s->n_settings + 1, sizeof *all);
    double rest = 0;
    for (size_t i = 0; i < s->n_settings; i++) {
        const qsr_record *record = qsr_study_example(s, &s->settings[i]);
        if (record && read_histogram(record, keys, &all[i])) rest = fmax(rest, all[i].rest);
    }
    extent x = find_extent(all, s->n_settings);
    if (x.n) {
        qsr_figure_set_text(f, "xlabel", label);
        qsr_figure_range(f, "x", left_of(&x, 0), left_of(&x, x.bins), false);
        if (x.n > MOST_LINES) {
            draw_map(s, all, &x, f);
        } else {
            qsr_figure_set_text(f, "ylabel", "percent");
            qsr_figure_range(f, "y", 0, x.highest, false);
            qsr_figure_study_key(f, s);
            for (size_t i = 0; i < s->n_settings; i++)
                if (fits(&all[i], &x)) draw_steps(s, i, &all[i], &x, f);
        }
        if (keys->rest)
            qsr_text_add(&f->caption, " In no bin, as they never fired: at most %.3g %% of the latents of a run.",
                         100 * rest);
    }
    for (size_t i = 0; i < s->n_settings; i++) free(all[i].shares);
    free(all);
}

void qsr_figure_density(const qsr_study *s, qsr_figure *f)
{
    static const histogram_keys keys = {"firing_log10", "log10_low", "bin_width", "latents", "silent"};
    qsr_figure_begin(f, "density", 480, 330, "How often latents fire");
    qsr_text_puts(&f->caption, "The share of latents by the share of tokens on which they fire, one run of each setting.");
    draw_all(s, &keys, "log10 of the firing frequency", f);
    if (!f->blocks) qsr_text_puts(&f->missing, "No completed run's result.json has firing_log10; an evaluation writes it.");
}

void qsr_figure_l0(const qsr_study *s, qsr_figure *f)
{
    static const histogram_keys keys = {"l0_histogram", "low", "bin_width", "tokens", NULL};
    qsr_figure_begin(f, "l0", 480, 330, "How many latents a token has");
    qsr_text_puts(&f->caption,
                  "The share of tokens by their own L0, one run of each setting. top-AFA chooses it for every token.");
    draw_all(s, &keys, "L0 of a token", f);
    if (!f->blocks)
        qsr_text_puts(&f->missing,
                      "No completed run's result.json has l0_histogram; an evaluation by this version writes it.");
}
