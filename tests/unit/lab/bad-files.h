/* The files of tests/cases/bad-input: a small language for files that are wrong in one respect. A section is a head
 * "@KIND NAME [MORE]" and a body of lines:
 *
 *     @file NAME           the body as it is
 *     @bytes NAME          the body without line breaks, with \xNN, \n, \t and \\ decoded
 *     @folder NAME         an empty folder
 *     @link NAME TARGET    a symbolic link
 *     @fifo NAME           a named pipe
 *     @sparse NAME N       the body as in @bytes, then zeros that take no room, N bytes in all
 *     @mode NAME OCTAL     sets permissions of what an earlier section made
 *     @copy NAME FROM      another file; the body may change it:
 *                              replace HEX HEX     in each place; both of equal length
 *                              cut N               keeps the first N bytes
 *     @safetensors NAME    tensor NAME DTYPE DIMS [VALUES]     its entry and its data, DIMS as 4x8, - for none
 *                              entry NAME {...}      an entry as text, without data
 *                              header {...}          the whole header as text
 *                              length N              the header's length as the file says it, whatever it is
 *                              pad N                 blanks after the header
 *                              data N                bytes of data, whatever the tensors have
 *     @npy NAME            array DESCR DIMS [VALUES]
 *                              header {...}, length N, data N as above; version A B; magic TEXT
 *     @npz NAME            stored | deflated MEMBER FILE     a file made before, as that member
 *                              size N, method N, flags N, crc N   what the last member's entry says instead
 *     @gpt2 NAME           a model's folder, of 2 layers, 8 wide, 2 heads, 16 positions, a vocabulary of 32
 *                              config KEY JSON       sets a key; without JSON: removes it
 *                              drop TENSOR           leaves it out
 *                              and the lines of @safetensors, for model.safetensors: a tensor of that name is replaced
 *
 * VALUES: zero | ramp (default: small, different numbers), then any number of INDEX=NUMBER, where nan, inf and -inf count as
 * numbers. Integers for integer types. */
#ifndef QSR_TESTS_BAD_FILES_H
#define QSR_TESTS_BAD_FILES_H
#include <stdbool.h>

/* Makes what a section says in the working folder; `body` is changed. false: not a kind of file. Fails the test when the section
 * itself is wrong. */
bool make_file(char *head, char *body);

/* Cuts the next line out of *at; NULL at the end. */
char *next_line(char **at);
/* Cuts the next word out of *at; "" at the end. */
char *next_word(char **at);
#endif
