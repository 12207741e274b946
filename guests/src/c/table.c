/* Indirect calls: a small stack machine whose every instruction is a call through a table of
 * function pointers, running a prime sieve by trial division. */
#include "scale.h"
#include <stdio.h>

typedef struct {
    const int32_t *code;
    int32_t pc;
    int32_t reg[4];
    int32_t found;
    int32_t running;
} machine;

typedef void (*operation)(machine *);

NOINLINE static void op_set(machine *m) { m->reg[m->code[m->pc + 1]] = m->code[m->pc + 2]; m->pc += 3; }
NOINLINE static void op_add(machine *m) { m->reg[m->code[m->pc + 1]] += m->code[m->pc + 2]; m->pc += 3; }
NOINLINE static void op_rem(machine *m) {
    m->reg[m->code[m->pc + 1]] = m->reg[m->code[m->pc + 2]] % m->reg[m->code[m->pc + 3]];
    m->pc += 4;
}
NOINLINE static void op_jump_zero(machine *m) {
    m->pc = m->reg[m->code[m->pc + 1]] == 0 ? m->code[m->pc + 2] : m->pc + 3;
}
NOINLINE static void op_jump_square_above(machine *m) {
    int32_t d = m->reg[m->code[m->pc + 1]];
    m->pc = d * d > m->reg[m->code[m->pc + 2]] ? m->code[m->pc + 3] : m->pc + 4;
}
NOINLINE static void op_jump(machine *m) { m->pc = m->code[m->pc + 1]; }
NOINLINE static void op_found(machine *m) { m->found++; m->pc += 1; }
NOINLINE static void op_jump_below(machine *m) {
    m->pc = m->reg[m->code[m->pc + 1]] < m->code[m->pc + 2] ? m->code[m->pc + 3] : m->pc + 4;
}
NOINLINE static void op_halt(machine *m) { m->running = 0; }

enum { SET, ADD, REM, JZ, JSQ, JMP, FOUND, JLT, HALT };

static const operation table[] = {
    op_set, op_add, op_rem, op_jump_zero, op_jump_square_above, op_jump, op_found, op_jump_below, op_halt,
};

/* r0: the candidate, r1: the divisor, r2: the remainder. */
static const int32_t program[] = {
    /*  0 */ SET, 0, 2,
    /*  3 */ SET, 1, 2,
    /*  6 */ JSQ, 1, 0, 20,
    /* 10 */ REM, 2, 0, 1,
    /* 14 */ JZ, 2, 21,
    /* 17 */ JMP, 30, 0,
    /* 20 */ FOUND,
    /* 21 */ ADD, 0, 1,
    /* 24 */ JLT, 0, 20000, 3,
    /* 28 */ HALT, 0,
    /* 30 */ ADD, 1, 1,
    /* 33 */ JMP, 6,
};

NOINLINE static int32_t interpret(machine *m) {
    while (m->running) {
        table[m->code[m->pc]](m);
    }
    return m->found;
}

int main(int argc, char **argv) {
    uint32_t scale = scale_of(argc, argv);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < scale; i++) {
        machine m = {.code = program, .running = 1};
        sum = mix(sum, (uint64_t)interpret(&m) + i);
    }
    printf("table %016llx\n", (unsigned long long)sum);
    return 0;
}
