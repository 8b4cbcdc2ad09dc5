/* report/figure: a figure before it is a picture: a gnuplot script and the table it draws, both of which can be kept and edited.
 *
 * The table has blocks of rows with a comment above each, two empty lines between; the script draws them as `index N`. Everything is
 * said in the script: ranges too, so that the same figure does not depend on what gnuplot would choose. */
#ifndef QSR_REPORT_FIGURE_H
#define QSR_REPORT_FIGURE_H
#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

typedef struct {
    char name[48];           /* of the files <name>.gp, <name>.tsv; also what its ids begin with */
    unsigned width, height;  /* in CSS pixels */
    qsr_text title, caption; /* plain texts, of one line; the caption says how to read it */
    qsr_text missing;        /* why there is nothing to draw, a sentence; empty: there is something */
    qsr_text script, table;  /* what was set; the blocks */
    qsr_text elements;       /* of the plot command */
    size_t blocks, rows;     /* of the table, of its last block */
    bool numbered;           /* an axis has the numbers of settings, as the page's table has them */
} qsr_figure;                /* {0} is an empty one */

void qsr_figure_begin(qsr_figure *, const char *name, unsigned width, unsigned height, const char *title);
void qsr_figure_free(qsr_figure *);
bool qsr_figure_drawn(const qsr_figure *); /* it has something to draw */

/* A line of the script. `set_text` is "set <what> '<text>'", with the text quoted. */
void qsr_figure_set(qsr_figure *, const char *fmt, ...) QSR_PRINTF(2, 3);
void qsr_figure_set_text(qsr_figure *, const char *what, const char *text);
/* The step of 1, 2 or 5 times a power of ten that goes about n times into a length. */
double qsr_figure_step(double length, double n);
/* axis: "x", "y", "x2", "y2". Some room is left at both ends; a single value gets some too. */
void qsr_figure_range(qsr_figure *, const char *axis, double low, double high, bool logarithmic);

/* Begins a block and returns its index; every block gets a row. Rows are numbers with tabs between; NaN: left out. */
size_t qsr_figure_block(qsr_figure *, const char *fmt, ...) QSR_PRINTF(2, 3);
void qsr_figure_row(qsr_figure *, const double *values, size_t n);
/* "<table> index <block> <how>", with the title quoted (NULL: notitle). `how` is of the script's language. */
void qsr_figure_draw(qsr_figure *, size_t block, const char *title, const char *fmt, ...) QSR_PRINTF(4, 5);
/* The plot command of what was drawn so far; for several in one figure between `set multiplot` and `unset multiplot`. */
void qsr_figure_flush(qsr_figure *);

/* Where a figure has intervals: bars with caps, as `with vectors` draws them. gnuplot's own error bars are hidden behind their points by
 * white discs, which are seen in the dark. */
#define QSR_FIGURE_BARS "with vectors heads size screen 0.008,90 nofilled lw 1"

/* Colours that can be told apart on white and on black, also by the colour-blind (Okabe and Ito, 2008), and marks to go with them. */
const char *qsr_figure_colour(size_t index);
unsigned qsr_figure_mark(size_t index);

typedef enum { QSR_PICTURE_SVG, QSR_PICTURE_PDF, QSR_PICTURE_PNG } qsr_picture;
const char *qsr_picture_ending(qsr_picture); /* "svg" */

/* The whole script, which writes <name>.svg and so on beside itself. */
void qsr_figure_script(const qsr_figure *, qsr_picture, qsr_text *out);
/* Writes <name>.gp and <name>.tsv into the folder, which is made. */
qsr_status qsr_figure_keep(const qsr_figure *, const char *folder, qsr_picture, qsr_error *e);
/* Runs gnuplot and gives the picture's bytes. */
qsr_status qsr_figure_picture(const qsr_figure *, qsr_picture, qsr_text *ret, qsr_error *e);
#endif
