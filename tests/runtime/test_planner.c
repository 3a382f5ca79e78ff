#include "check.h"
#include "planner.h"

#include <stdio.h>

enum { MAX_ITEMS = 64 };

/*
 * A text case: "first-last:size" items, "@i" behind one makes it an alias of item i; then "=" and
 * the offsets expected, and the total.
 */
struct text_case {
    const char *items, *offsets;
    long long total;
};

static uint32_t parse(const char *text, struct planner_item *items)
{
    uint32_t n = 0;
    int used;
    unsigned first, last, alias;
    long long size;
    while (sscanf(text, " %u-%u:%lld%n", &first, &last, &size, &used) == 3) {
        text += used;
        items[n] = (struct planner_item){first, last, size, UINT32_MAX, -1};
        if (sscanf(text, "@%u%n", &alias, &used) == 1) {
            text += used;
            items[n].alias = alias;
        }
        n++;
    }
    return n;
}

static void text_cases(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"", "", 0},
        {"0-1:256", "0", 256},
        {"0-1:1", "0", 256},                         /* rounded up */
        {"0-1:0 0-1:0", "0 0", 0},                   /* empty ones take no room */
        {"0-1:256 2-3:256", "0 0", 256},             /* one after the other: shared */
        {"0-1:256 1-2:256", "0 256", 512},           /* both alive at step 1 */
        {"0-1:256 1-2:512", "512 0", 768},           /* the largest first */
        {"0-9:256 0-1:512 2-9:256", "512 0 0", 768}, /* reuse of what died */
        {"0-1:1024 0-9:256 0-1:512 2-3:512 2-3:1024", "0 1536 1024 1024 0", 1792},
        {"0-9:1024 2-3:256@0 4-5:1024@0 0-9:256", "0 0 0 1024", 1280},
        /* the longest-lived first, the first first: where the largest first takes more */
        {"0-3:1024 4-5:768 2-6:1024 4-6:768", "1024 1792 0 1024", 2560},
        {"4-5:768 1-5:768 0-0:1024 0-1:512", "768 0 0 1024", 1536},
        /* from both ends, where small ones that follow each other would part what is left */
        {"0-5:256 1-2:1024 3-4:768 4-5:256 5-10:256 6-7:1024", "0 256 512 256 1024 0", 1280},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct planner_item items[MAX_ITEMS];
        uint32_t scratch[MAX_ITEMS], n = parse(cases[i].items, items);
        int64_t total;
        char offsets[256] = "";
        assert_true(planner_place(items, n, 256, scratch, &total));
        for (uint32_t j = 0, used = 0; j < n; j++)
            used += (uint32_t)snprintf(offsets + used, sizeof offsets - used, "%s%lld",
                                       j > 0 ? " " : "", (long long)items[j].offset);
        assert_string_equal(offsets, cases[i].offsets);
        assert_int_equal(total, cases[i].total);
    }
}

/* The tightest of two gaps is taken, not the first. */
static void best_fit_prefers_the_tighter_gap(void **state)
{
    (void)state;
    struct planner_item items[MAX_ITEMS];
    uint32_t scratch[MAX_ITEMS];
    /* offsets: 0 [4096] | 4096 [3072, dies] | 7168 [2048] | 9216 [1536, dies] | 10752 [1024] */
    uint32_t n = parse("0-9:4096 0-1:3072 0-9:2048 0-1:1536 0-9:1024 2-9:512", items);
    int64_t total;
    assert_true(planner_place(items, n, 256, scratch, &total));
    assert_int_equal(items[5].offset, items[3].offset);
    assert_int_not_equal(items[5].offset, items[1].offset);
}

static void random_items_do_not_overlap(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        struct planner_item items[MAX_ITEMS];
        uint32_t scratch[MAX_ITEMS], n = 0;
        int64_t total;
#define RANDOM(limit) ((seed = seed * 1664525u + 1013904223u) >> 8) % (limit)
        uint32_t wanted = RANDOM(MAX_ITEMS);
        for (; n < wanted; n++) {
            uint32_t first = RANDOM(20);
            items[n] =
                (struct planner_item){first, first + RANDOM(10), RANDOM(5000), UINT32_MAX, 0};
        }
        assert_true(planner_place(items, n, 256, scratch, &total));
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(items[i].offset % 256, 0);
            assert_true(items[i].size == 0 || items[i].offset + items[i].size <= total);
            for (uint32_t j = 0; j < i; j++) {
                bool lifetimes = items[i].first <= items[j].last && items[j].first <= items[i].last;
                bool bytes = items[i].offset < items[j].offset + items[j].size &&
                             items[j].offset < items[i].offset + items[i].size;
                assert_false(lifetimes && bytes && items[i].size > 0 && items[j].size > 0);
            }
        }
    }
}

static void illegal_items_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "2-1:256", /* dies before it is born */
        "0-1:-1",
        "0-1:256@3",                   /* alias of nothing */
        "0-1:256@0",                   /* of itself */
        "0-9:256 0-1:256@0 0-1:256@1", /* of an alias */
        "0-1:256 0-2:256@0",           /* outlives what it lies in */
        "0-9:256 0-1:512@0",           /* larger than it */
        "0-1:9223372036854775807",
        "0-1:9223372036854775000 0-1:9223372036854775000",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct planner_item items[MAX_ITEMS];
        uint32_t scratch[MAX_ITEMS], n = parse(cases[i], items);
        int64_t total;
        assert_false(planner_place(items, n, 256, scratch, &total));
    }
}

RUN_TESTS(TEST(text_cases), TEST(best_fit_prefers_the_tighter_gap),
          TEST(random_items_do_not_overlap), TEST(illegal_items_are_refused))
