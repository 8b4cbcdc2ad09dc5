#include <stdio.h>
int main(void) { puts("quasar"); return 0; }
