# gpucc_python_test(NAME SCRIPT): SCRIPT --build BUILD, run by the tests' own Python environment
# (build/venv, made by tools/setup --tests). Such a test uses all cores itself.
include_guard()
find_program(GPUCC_TEST_PYTHON python PATHS ${PROJECT_BINARY_DIR}/venv/bin NO_DEFAULT_PATH)
if(NOT GPUCC_TEST_PYTHON)
  message(WARNING "No build/venv: the tests that need Python are reported as skipped. "
                  "`tools/setup --tests` makes it.")
endif()

function(gpucc_python_test name script)
  if(GPUCC_TEST_PYTHON)
    add_test(NAME ${name} COMMAND ${GPUCC_TEST_PYTHON} ${script} --build ${PROJECT_BINARY_DIR} ${ARGN})
  else()
    add_test(NAME ${name} COMMAND ${CMAKE_COMMAND} -E echo "SKIPPED: needs tools/setup --tests")
    set_tests_properties(${name} PROPERTIES SKIP_REGULAR_EXPRESSION "SKIPPED")
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "nvrtc;whole" RUN_SERIAL ON TIMEOUT 1500)
endfunction()
