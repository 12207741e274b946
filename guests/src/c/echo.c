/* Copies standard input to standard output line by line until its end, so it can block in a read
 * for as long as one likes; then prints a count and a checksum of the bytes. */
#include "scale.h"
#include <stdio.h>

NOINLINE static uint64_t add_line(uint64_t sum, const char *line) {
    for (; *line; line++) {
        sum = mix(sum, (unsigned char)*line);
    }
    return sum;
}

int main(void) {
    char line[256];
    uint64_t sum = 0;
    uint32_t lines = 0;
    while (fgets(line, sizeof line, stdin)) {
        fputs(line, stdout);
        fflush(stdout);
        sum = add_line(sum, line);
        lines++;
    }
    printf("echo %u lines %016llx\n", lines, (unsigned long long)sum);
    return 0;
}
