/* Finding skeletons, and the sections of the prelude that a kernel needs. */
#include "emit_state.h"
#include "skeleton.h"

#include <string.h>

enum { MAX_SECTIONS = 256 };

/*
 * prelude.cuh is a list of sections, each opened by a line
 *     //: name name …
 * with the names that the section defines. A section is taken when a text that is already in
 * mentions one of them.
 */
struct section {
    const char *names, *names_end, *text, *end;
    bool used;
};

const char *skeleton_find(const char *name)
{
    for (const struct skeleton *s = skeletons; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s->text;
    return NULL;
}

static int find_sections(struct section *sections)
{
    const char *prelude = skeleton_find("prelude.cuh");
    int n = 0;
    for (const char *at = prelude ? strstr(prelude, "//:") : NULL; at && n < MAX_SECTIONS; n++) {
        struct section *s = &sections[n];
        s->names = at + 3;
        s->names_end = strchr(at, '\n');
        s->text = s->names_end + 1;
        at = strstr(s->text, "//:");
        s->end = at ? at : s->text + strlen(s->text);
        s->used = false;
    }
    return n;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Does the section define the word? */
static bool defines(const struct section *s, const char *word, size_t length)
{
    for (const char *p = s->names; p < s->names_end;) {
        const char *end = p;
        while (end < s->names_end && is_word(*end))
            end++;
        if ((size_t)(end - p) == length && length && memcmp(p, word, length) == 0)
            return true;
        p = end + 1;
    }
    return false;
}

/* Takes the sections that the text mentions, and what those mention in turn. */
static void take(struct section *sections, int n, const char *text, const char *end)
{
    for (const char *p = text; p < end;) {
        const char *word = p;
        while (p < end && is_word(*p))
            p++;
        size_t length = (size_t)(p - word);
        for (int i = 0; length && i < n; i++) {
            if (sections[i].used || !defines(&sections[i], word, length))
                continue;
            sections[i].used = true;
            take(sections, n, sections[i].text, sections[i].end);
        }
        if (length == 0)
            p++;
    }
}

void prelude_append(struct text *out, const char *const *texts, int n)
{
    struct section sections[MAX_SECTIONS];
    int count = find_sections(sections);
    for (int i = 0; i < n; i++)
        take(sections, count, texts[i], texts[i] + strlen(texts[i]));
    for (int i = 0; i < count; i++)
        if (sections[i].used)
            text_append(out, sections[i].text, (size_t)(sections[i].end - sections[i].text));
}
