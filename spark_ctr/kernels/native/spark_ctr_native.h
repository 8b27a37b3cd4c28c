/* The functions that are called from outside. */
#ifndef SPARK_CTR_NATIVE_H
#define SPARK_CTR_NATIVE_H

#include <stdint.h>

#define CTR_PUBLIC __attribute__((visibility("default")))

struct ctr_program;

struct ctr_array {
    const void *data;
    int64_t bytes;
};

/* Instruction sets from the plainest, "portable", to the best; NULL behind the last. */
CTR_PUBLIC const char *ctr_instruction_set(int position);

/* Checks and prepares a program; NULL with a message where that fails. Tables among the arrays are
   read as long as the program lives, all else is copied. */
CTR_PUBLIC struct ctr_program *ctr_program_new(const int64_t *words, int64_t count,
                                    const struct ctr_array *arrays, int64_t array_count,
                                    int instruction_set, char *message, int64_t message_bytes);
CTR_PUBLIC void ctr_program_free(struct ctr_program *program);

/* Computes ids [rows, slots] of 4 or 8 bytes each and numbers [rows, columns] into logits
   [rows, tasks]. Returns the row of the first id that is not valid, -1 where all are, or -2 where
   memory is short. Threads may run a program at the same time. */
CTR_PUBLIC int64_t ctr_program_run(struct ctr_program *program, const void *ids, int id_bytes,
                        const float *numeric, int64_t rows, float *logits);

#endif
