/* A libcuda.so.1 with one GPU that does at once what it is told: the driver's entry points that netdyno calls.

   An event holds the moment at which it was recorded, so that between two of them is what was done in between. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct { double ms; int recorded; } Event;

static int fail_at;      /* which call from now on fails, 0 for none */
static long memsets, last_words, synced, used = 1 << 20;

static int answer(void) { return fail_at && !--fail_at ? 719 : 0; }

void stub_fail(int at) { fail_at = at; }
long stub_memsets(void) { return memsets; }
long stub_words(void) { return last_words; }
long stub_synced(void) { return synced; }
void stub_use(long bytes) { used += bytes; }

int cuInit(unsigned flags) { return flags ? 1 : answer(); }
int cuDeviceGet(int *device, int number) { *device = number; return answer(); }
int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; *context = &memsets; return answer(); }
int cuCtxSetCurrent(void *context) { return context == &memsets ? answer() : 201; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = &synced; return flags == 1 ? answer() : 1; }
int cuStreamSynchronize(void *stream) { (void)stream; synced++; return answer(); }
int cuDeviceGetAttribute(int *value, int attribute, int device) { (void)device; *value = 1 << 16; return attribute == 38 ? answer() : 1; }
int cuMemGetInfo_v2(size_t *free, size_t *total) { *total = 1 << 30; *free = *total - used; return answer(); }
int cuMemAlloc_v2(uint64_t *address, size_t bytes) { *address = (uintptr_t)malloc(bytes); return answer(); }

int cuMemsetD32Async(uint64_t address, unsigned value, size_t words, void *stream) {
    (void)stream;
    for (size_t i = 0; i < words; i++) ((uint32_t *)(uintptr_t)address)[i] = value;
    memsets++;
    last_words = words;
    return answer();
}

int cuEventCreate(void **event, unsigned flags) { *event = calloc(1, sizeof(Event)); return flags ? 1 : answer(); }

int cuEventRecord(Event *event, void *stream) {
    struct timespec t;
    (void)stream;
    clock_gettime(CLOCK_MONOTONIC, &t);
    *event = (Event){t.tv_sec * 1e3 + t.tv_nsec * 1e-6, 1};
    return answer();
}

int cuEventElapsedTime(float *ms, Event *start, Event *end) {
    if (!start->recorded || !end->recorded) return 400;
    *ms = (float)(end->ms - start->ms);
    return answer();
}

int cuGetErrorString(int code, const char **text) { *text = code == 719 ? "unspecified launch failure" : "invalid value"; return 0; }
