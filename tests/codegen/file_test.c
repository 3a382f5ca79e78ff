/* Files that appear whole or not at all, and the compile cache that is made of them. */
#include "test.h"

#include "../../codegen/atomic_file.h"
#include "../../codegen/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/gpucc-test-XXXXXX");
    return !mkdtemp(folder);
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

static const char *inside(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int count_files(const char *path)
{
    int n = 0;
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    if (dir)
        closedir(dir);
    return n;
}

static void check_content(const char *path, const char *wanted)
{
    char found[64] = {0};
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(found, 1, sizeof found - 1, file), strlen(wanted));
    fclose(file);
    assert_string_equal(found, wanted);
}

static void a_file_has_its_name_only_when_it_is_complete(void **state)
{
    (void)state;
    struct atomic_file f;
    assert_true(atomic_file_open(&f, inside("a")));
    assert_true(atomic_file_write(&f, "half", 4));
    assert_int_equal(access(inside("a"), F_OK), -1);
    assert_true(atomic_file_commit(&f));
    check_content(inside("a"), "half");
    assert_int_equal(count_files(folder), 1);
}

static void a_new_file_replaces_the_old_one(void **state)
{
    (void)state;
    assert_true(atomic_file_put(inside("a"), "old", 3));
    assert_true(atomic_file_put(inside("a"), "newer", 5));
    check_content(inside("a"), "newer");
    assert_int_equal(count_files(folder), 1);
}

static void giving_up_leaves_the_old_file_and_nothing_else(void **state)
{
    (void)state;
    assert_true(atomic_file_put(inside("a"), "old", 3));
    struct atomic_file f;
    assert_true(atomic_file_open(&f, inside("a")));
    assert_true(atomic_file_write(&f, "x", 1));
    atomic_file_abort(&f);
    check_content(inside("a"), "old");
    assert_int_equal(count_files(folder), 1);
}

static void a_killed_writer_leaves_nothing(void **state)
{
    (void)state;
    pid_t child = fork();
    if (!child) {
        struct atomic_file f;
        if (atomic_file_open(&f, inside("a")) && atomic_file_write(&f, "x", 1))
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(access(inside("a"), F_OK), -1);
}

static void a_link_stays_and_its_file_is_replaced(void **state)
{
    (void)state;
    struct stat status;
    assert_true(atomic_file_put(inside("a"), "old", 3));
    assert_int_equal(symlink("a", inside("link")), 0);
    assert_true(atomic_file_put(inside("link"), "new", 3));
    check_content(inside("a"), "new");
    assert_int_equal(lstat(inside("link"), &status), 0);
    assert_true(S_ISLNK(status.st_mode));
}

static void a_pipe_gets_its_bytes_when_they_are_complete(void **state)
{
    (void)state;
    struct atomic_file f;
    char bytes[8] = {0};
    assert_int_equal(mkfifo(inside("pipe"), 0666), 0);
    int fd = open(inside("pipe"), O_RDWR | O_NONBLOCK);
    assert_true(atomic_file_open(&f, inside("pipe")));
    assert_true(atomic_file_write(&f, "xbc", 3));
    assert_int_equal(lseek(f.fd, 0, SEEK_SET), 0);
    assert_true(atomic_file_write(&f, "a", 1));
    assert_int_equal(read(fd, bytes, sizeof bytes), -1);
    assert_true(atomic_file_commit(&f));
    assert_int_equal(read(fd, bytes, sizeof bytes), 3);
    assert_string_equal(bytes, "abc");
    close(fd);
}

static void a_folder_that_is_missing_is_an_error(void **state)
{
    (void)state;
    assert_false(atomic_file_put(inside("none/a"), "x", 1));
}

/* ---- cache ---- */

static const struct cache_key key = {{1, 2, 3}};
static char ptx[] = "ptx", cubin[] = {1, 0, 2}, log_text[] = "log";
static const struct binary binary = {
    .ptx = ptx, .ptx_size = 3, .cubin = cubin, .cubin_size = 3, .log = log_text};

static struct cache open_cache(void)
{
    struct cache cache;
    setenv("XDG_CACHE_HOME", folder, 1);
    cache_open(&cache);
    return cache;
}

static void check_loads(const struct cache *cache)
{
    struct binary loaded;
    assert_true(cache_load(cache, key, &loaded));
    assert_string_equal(loaded.ptx, "ptx");
    assert_int_equal(loaded.cubin_size, 3);
    assert_memory_equal(loaded.cubin, cubin, 3);
    assert_string_equal(loaded.log, "log");
    binary_free(&loaded);
}

static void what_was_stored_is_loaded(void **state)
{
    (void)state;
    struct cache cache = open_cache();
    struct binary loaded;
    assert_false(cache_load(&cache, key, &loaded));
    cache_store(&cache, key, &binary);
    check_loads(&cache);
    cache_close(&cache);
}

static const char *entry_path(void)
{
    return inside("gpucc/01020300000000000000000000000000.bin");
}

/* Every byte of an entry is covered: flipping it makes the entry missing, storing heals it. */
static void a_damaged_entry_is_ignored_and_rewritten(void **state)
{
    (void)state;
    struct cache cache = open_cache();
    struct binary loaded;
    struct stat whole;
    cache_store(&cache, key, &binary);
    assert_int_equal(stat(entry_path(), &whole), 0);
    for (off_t at = 0; at < whole.st_size; at++) {
        int fd = open(entry_path(), O_RDWR);
        unsigned char byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x40;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        assert_false(cache_load(&cache, key, &loaded));
        cache_store(&cache, key, &binary);
        check_loads(&cache);
    }
    cache_close(&cache);
}

static void an_entry_that_was_cut_is_ignored(void **state)
{
    (void)state;
    struct cache cache = open_cache();
    struct binary loaded;
    struct stat whole;
    cache_store(&cache, key, &binary);
    assert_int_equal(stat(entry_path(), &whole), 0);
    for (off_t size = 0; size < whole.st_size; size++) {
        cache_store(&cache, key, &binary);
        assert_int_equal(truncate(entry_path(), size), 0);
        assert_false(cache_load(&cache, key, &loaded));
    }
    cache_close(&cache);
}

static void an_entry_under_a_wrong_name_is_ignored(void **state)
{
    (void)state;
    struct cache cache = open_cache();
    cache_store(&cache, key, &binary);
    char from[128];
    strcpy(from, entry_path());
    assert_int_equal(rename(from, inside("gpucc/ff020300000000000000000000000000.bin")), 0);
    struct binary loaded;
    assert_false(cache_load(&cache, (struct cache_key){{0xff, 2, 3}}, &loaded));
    cache_close(&cache);
}

static void processes_that_store_at_once_leave_whole_entries(void **state)
{
    (void)state;
    enum { PROCESSES = 4, ROUNDS = 200 };
    for (int i = 0; i < PROCESSES; i++)
        if (!fork()) {
            struct cache cache = open_cache();
            int failures = 0;
            for (int round = 0; round < ROUNDS; round++) {
                struct binary loaded;
                cache_store(&cache, key, &binary);
                failures += !cache_load(&cache, key, &loaded);
                binary_free(&loaded);
            }
            _exit(failures != 0);
        }
    for (int i = 0, status; i < PROCESSES; i++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(count_files(inside("gpucc")), 1);
}

static void a_relative_cache_home_is_ignored(void **state)
{
    (void)state;
    struct cache cache;
    setenv("XDG_CACHE_HOME", "relative", 1);
    setenv("HOME", folder, 1);
    cache_open(&cache);
    assert_string_equal(cache.folder, inside(".cache/gpucc"));
    cache_close(&cache);
}

static void without_a_home_there_is_no_cache(void **state)
{
    (void)state;
    struct cache cache;
    struct binary loaded;
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    cache_open(&cache);
    cache_store(&cache, key, &binary);
    assert_false(cache_load(&cache, key, &loaded));
    cache_close(&cache);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_file_has_its_name_only_when_it_is_complete),
        IN_FOLDER(a_new_file_replaces_the_old_one),
        IN_FOLDER(giving_up_leaves_the_old_file_and_nothing_else),
        IN_FOLDER(a_killed_writer_leaves_nothing),
        IN_FOLDER(a_link_stays_and_its_file_is_replaced),
        IN_FOLDER(a_pipe_gets_its_bytes_when_they_are_complete),
        IN_FOLDER(a_folder_that_is_missing_is_an_error),
        IN_FOLDER(what_was_stored_is_loaded),
        IN_FOLDER(a_damaged_entry_is_ignored_and_rewritten),
        IN_FOLDER(an_entry_that_was_cut_is_ignored),
        IN_FOLDER(an_entry_under_a_wrong_name_is_ignored),
        IN_FOLDER(processes_that_store_at_once_leave_whole_entries),
        IN_FOLDER(a_relative_cache_home_is_ignored),
        IN_FOLDER(without_a_home_there_is_no_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
