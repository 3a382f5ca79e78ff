/* cmocka, and what its header wants before it. */
#ifndef GPUCC_TESTS_CODEGEN_TEST_H
#define GPUCC_TESTS_CODEGEN_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
