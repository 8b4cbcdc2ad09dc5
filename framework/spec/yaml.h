/* spec/yaml: YAML text to a tree with places; the only includer of <yaml.h>. libyaml accepts duplicate keys, does not expand
 * `<<`, types nothing and knows no bounds: all of that is settled here. */
#ifndef QSR_SPEC_YAML_H
#define QSR_SPEC_YAML_H
#include "spec/node.h"

enum { QSR_YAML_BYTES = 1 << 20, QSR_YAML_DEPTH = 32, QSR_YAML_NODES = 10000, QSR_YAML_KEY = 128 };

/* Parses source->text from byte `offset` on (marks count from the text's beginning). Refused, each with its place: invalid UTF-8,
 * control characters, more than QSR_YAML_BYTES, deeper than QSR_YAML_DEPTH, more than QSR_YAML_NODES values aliases included,
 * tags, several documents, duplicate keys, `<<`, keys that are no words, an empty text. With `flow` block style is refused too
 * (command-line values). Returns NULL when there is no tree at all; a tree may be returned although problems were added. The
 * source must outlive the tree. */
qsr_node *qsr_yaml_parse(qsr_arena *, const qsr_source *, size_t offset, bool flow, qsr_problems *);
#endif
