/* netdyno's runner: keeps LiteRT models on a phone and times them; experimental.

   runner LIBRARY: answers requests, a line each, with a line of JSON each. It ends with its input, or when nobody
   reads its answers any more; while it works it writes an empty line every BEAT_S seconds, so that who waits knows that
   it lives.

     load ID THREADS FILE   a model; answers its inputs and outputs, and how long loading took
     profile ID THREADS FILE  the same, with the library's profiler
     feed ID FILE           inputs, one after the other, as the model has them
     run ID REPEAT          answers the latency of each inference in ns
     events ID REPEAT       runs, and answers tag, type and elapsed µs of each event of the profiler
     read ID FILE           writes the last outputs there, one after the other
     close ID               frees the model
     memory                 answers the most memory that this process has had
     batch N                takes N requests, and answers them when all are done

   The C interface of libLiteRt.so is called by name, so that nothing but libc is needed to build this. */
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MODELS = 4096, TENSORS = 64, LINE = 4096, BEAT_S = 5, CPU = 1, LOCK_READ = 0, LOCK_WRITE = 1 };
enum { TOGETHER = 64, OUTPUT = 1 << 24, RUNS = 1 << 24, EVENTS = 100000, TYPE_AT = 8, ELAPSED_AT = 24, BUILTIN = 2, DELEGATED = 8, LAST_TYPE = 256 };

typedef void *Handle;
typedef int (*Function)();
typedef struct { int32_t element; uint32_t rank; int32_t sides[8]; uint32_t strides[8]; } Type;
typedef struct {
    Handle model, compiled, profiler;
    void *data;
    size_t count[2]; /* of inputs and outputs */
    Handle buffers[2][TENSORS];
} Model;

static void *library;
static Handle environment;
static Model models[MODELS];
static const char *failed; /* the function that did not succeed */
static int status;

static volatile sig_atomic_t working;

static void alarmed(int number) {
    (void)number;
    if (working && write(STDOUT_FILENO, "\n", 1) != 1) _exit(0);
    alarm(BEAT_S);
}

static Function find(const char *name) {
    Function function = (Function)dlsym(library, name);
    if (!function) failed = name, status = -1;
    return function;
}

/* Calls a function by name, unless one has failed before. */
#define CALL(name, ...) (failed ? 0 : (find(name) && (status = find(name)(__VA_ARGS__)) ? (failed = name, 0) : 0))

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void quoted(const char *text) {
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\' || *c < 32) printf("\\u%04x", *c);
        else putchar(*c);
    }
    putchar('"');
}

static void refuse(const char *why, int code) {
    printf("{\"refused\": ");
    quoted(why);
    printf(", \"status\": %d}\n", code);
}

static void *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    void *data = malloc(*size + 1);
    if (data && fread(data, 1, *size, file) != *size) { free(data); data = NULL; }
    fclose(file);
    return data;
}

static void add_options(Handle options, const char *identifier, const char *text) {
    Handle opaque = NULL;
    CALL("LiteRtCreateOpaqueOptions", identifier, strdup(text), free, &opaque);
    CALL("LiteRtAddOpaqueOptions", options, opaque);
}

static const char *const SIDE[2] = {"Input", "Output"};

/* Name, type and buffer of a tensor; tells it as JSON. */
static void add_tensor(Model *m, Handle signature, int side, size_t i) {
    char name[96];
    Handle tensor = NULL, needs = NULL;
    const char *text = "";
    Type type = {0};
    snprintf(name, sizeof name, "LiteRtGetSignature%sName", SIDE[side]);
    CALL(name, signature, i, &text);
    snprintf(name, sizeof name, "LiteRtGetSignature%sTensorByIndex", SIDE[side]);
    CALL(name, signature, i, &tensor);
    CALL("LiteRtGetRankedTensorType", tensor, &type);
    snprintf(name, sizeof name, "LiteRtGetCompiledModel%sBufferRequirements", SIDE[side]);
    CALL(name, m->compiled, (size_t)0, i, &needs);
    CALL("LiteRtCreateManagedTensorBufferFromRequirements", environment, &type, needs, &m->buffers[side][i]);
    size_t bytes = 0;
    CALL("LiteRtGetTensorBufferPackedSize", m->buffers[side][i], &bytes);
    if (failed) { failed = "a tensor of the model cannot be had; are its shapes open?"; return; }
    printf("%s[", i ? ", " : "");
    quoted(text);
    printf(", %d, [", type.element);
    for (uint32_t k = 0; k < (type.rank & 127) && k < 8; k++) printf("%s%d", k ? ", " : "", type.sides[k]);
    printf("], %zu]", bytes);
}

static void load(Model *m, int threads, int profiled, const char *path) {
    char text[64];
    size_t size = 0;
    Handle options = NULL, signature = NULL;
    m->data = read_file(path, &size); /* the model points into it */
    if (!m->data) { refuse("the model's file cannot be read", 0); return; }
    if (size < 8 || memcmp((char *)m->data + 4, "TFL3", 4)) { refuse("not a TFLite model: its identifier is missing", 0); return; }
    int64_t began = now_ns();
    CALL("LiteRtCreateModelFromBuffer", environment, m->data, size, &m->model);
    CALL("LiteRtCreateOptions", &options);
    CALL("LiteRtSetOptionsHardwareAccelerators", options, CPU);
    snprintf(text, sizeof text, "num_threads = %d\n", threads);
    if (!failed && profiled) add_options(options, "runtime_options_string", "enable_profiling = true\n");
    if (!failed) add_options(options, "xnnpack", text);
    CALL("LiteRtCreateCompiledModel", environment, m->model, options, &m->compiled);
    if (profiled) CALL("LiteRtCompiledModelGetProfiler", m->compiled, &m->profiler);
    int64_t took = now_ns() - began;
    CALL("LiteRtGetModelSignature", m->model, (size_t)0, &signature);
    CALL("LiteRtGetNumSignatureInputs", signature, &m->count[0]);
    CALL("LiteRtGetNumSignatureOutputs", signature, &m->count[1]);
    if (failed) { refuse(failed, status); return; }
    if (m->count[0] > TENSORS || m->count[1] > TENSORS) { failed = "too many inputs or outputs"; refuse(failed, 0); return; }
    printf("{\"load_ns\": %lld", (long long)took);
    for (int side = 0; side < 2; side++) {
        printf(", \"%s\": [", side ? "outputs" : "inputs");
        for (size_t i = 0; i < m->count[side] && !failed; i++) add_tensor(m, signature, side, i);
        printf("]");
    }
    if (failed) printf(", \"refused\": \"%s\"", failed);
    printf("}\n");
}

/* Inputs from a file, or outputs to one. */
static void copy(Model *m, int side, const char *path) {
    FILE *file = fopen(path, side ? "wb" : "rb");
    if (!file) { refuse("a file of tensors cannot be opened", 0); return; }
    int whole = 1;
    for (size_t i = 0; i < m->count[side] && !failed; i++) {
        void *address = NULL;
        size_t bytes = 0;
        CALL("LiteRtGetTensorBufferPackedSize", m->buffers[side][i], &bytes);
        CALL("LiteRtLockTensorBuffer", m->buffers[side][i], &address, side ? LOCK_READ : LOCK_WRITE);
        if (failed) break;
        whole &= (side ? fwrite(address, 1, bytes, file) : fread(address, 1, bytes, file)) == bytes;
        CALL("LiteRtUnlockTensorBuffer", m->buffers[side][i]);
    }
    whole &= fclose(file) == 0;
    if (failed) refuse(failed, status);
    else if (!whole) refuse("a file of tensors is too short, or the disk is full", 0);
    else printf("{}\n");
}

static void run(Model *m, long repeat) {
    Function run_model = find("LiteRtRunCompiledModel");
    int64_t *times = malloc(sizeof *times * (size_t)repeat);
    if (!times || !run_model) { refuse("no memory for the times", 0); return; }
    for (long i = 0; i < repeat && !failed; i++) {
        int64_t began = now_ns();
        status = run_model(m->compiled, (size_t)0, m->count[0], m->buffers[0], m->count[1], m->buffers[1]);
        times[i] = now_ns() - began;
        if (status) failed = "LiteRtRunCompiledModel";
    }
    if (failed) refuse(failed, status);
    else {
        printf("{\"ns\": [");
        for (long i = 0; i < repeat; i++) printf("%s%lld", i ? "," : "", (long long)times[i]);
        printf("]}\n");
    }
    free(times);
}

/* Sizes of an event have differed between versions: it is the one at which all events have a known type. */
static size_t event_size(const char *events, int count, size_t space) {
    static const size_t SIZES[] = {104, 88, 120};
    for (size_t k = 0; k < sizeof SIZES / sizeof *SIZES; k++) {
        int known = 1;
        for (int i = 0; i < count && known; i++) {
            uint32_t type;
            memcpy(&type, events + i * SIZES[k] + TYPE_AT, sizeof type);
            known = type && !(type & (type - 1)) && type <= LAST_TYPE;
        }
        for (size_t at = (size_t)count * SIZES[k]; at < space && known; at++) known = !events[at];
        if (known) return SIZES[k];
    }
    return 0;
}

static void tell_events(const char *events, int count, size_t size) {
    printf("{\"events\": [");
    for (int i = 0; i < count; i++) {
        const char *event = events + i * size, *tag;
        uint32_t type;
        uint64_t elapsed_us;
        memcpy(&tag, event, sizeof tag);
        memcpy(&type, event + TYPE_AT, sizeof type);
        memcpy(&elapsed_us, event + ELAPSED_AT, sizeof elapsed_us);
        printf("%s[", i ? ", " : "");
        quoted(tag && (type == BUILTIN || type == DELEGATED) ? tag : "");
        printf(", %u, %llu]", type, (unsigned long long)elapsed_us);
    }
    printf("]}\n");
}

static void profile(Model *m, long repeat) {
    int count = 0;
    CALL("LiteRtResetProfiler", m->profiler);
    CALL("LiteRtStartProfiler", m->profiler);
    for (long i = 0; i < repeat && !failed; i++)
        CALL("LiteRtRunCompiledModel", m->compiled, (size_t)0, m->count[0], m->buffers[0], m->count[1], m->buffers[1]);
    CALL("LiteRtStopProfiler", m->profiler);
    CALL("LiteRtGetNumProfilerEvents", m->profiler, &count);
    if (failed) { refuse(failed, status); return; }
    if (count < 0 || count > EVENTS) { refuse("the profiler tells of too many events", count); return; }
    size_t space = 240 * (size_t)count + 8;
    char *events = calloc(1, space);
    if (!events) { refuse("no memory for the profiler's events", 0); return; }
    CALL("LiteRtGetProfilerEvents", m->profiler, count, events);
    size_t size = event_size(events, count, space);
    if (failed) refuse(failed, status);
    else if (!size) refuse("the profiler's events have an unknown form", 0);
    else tell_events(events, count, size);
    free(events);
}

static void forget(Model *m) {
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < m->count[side] && i < TENSORS; i++)
            if (m->buffers[side][i]) find("LiteRtDestroyTensorBuffer")(m->buffers[side][i]);
    if (m->compiled) find("LiteRtDestroyCompiledModel")(m->compiled);
    if (m->model) find("LiteRtDestroyModel")(m->model);
    free(m->data);
    memset(m, 0, sizeof *m);
}

static void tell_memory(void) {
    char line[256];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) sscanf(line, "VmHWM: %ld kB", &kib);
    if (file) fclose(file);
    printf("{\"bytes\": %ld}\n", kib * 1024);
}

static void answer(const char *line) {
    char path[LINE];
    unsigned id = 0;
    long number = 0;
    failed = NULL;
    if (sscanf(line, "load %u %ld %4000s", &id, &number, path) == 3 && id < MODELS) {
        forget(&models[id]);
        load(&models[id], (int)number, 0, path);
        if (failed || !models[id].compiled) forget(&models[id]);
    } else if (sscanf(line, "profile %u %ld %4000s", &id, &number, path) == 3 && id < MODELS) {
        forget(&models[id]);
        load(&models[id], (int)number, 1, path);
        if (failed || !models[id].compiled) forget(&models[id]);
    } else if (sscanf(line, "events %u %ld", &id, &number) == 2 && id < MODELS && models[id].profiler && number > 0 && number <= RUNS) {
        profile(&models[id], number);
    } else if (sscanf(line, "feed %u %4000s", &id, path) == 2 && id < MODELS && models[id].compiled) {
        copy(&models[id], 0, path);
    } else if (sscanf(line, "read %u %4000s", &id, path) == 2 && id < MODELS && models[id].compiled) {
        copy(&models[id], 1, path);
    } else if (sscanf(line, "run %u %ld", &id, &number) == 2 && id < MODELS && models[id].compiled && number > 0 && number <= RUNS) {
        run(&models[id], number);
    } else if (sscanf(line, "close %u", &id) == 1 && id < MODELS) {
        forget(&models[id]);
        printf("{}\n");
    } else if (!strncmp(line, "memory", 6)) {
        tell_memory();
    } else {
        refuse("not a request", 0);
    }
}

int main(int count, char **arguments) {
    static char lines[TOGETHER][LINE], output[OUTPUT];
    if (count != 2) return 2;
    /* Nothing is written amid the work, nor a beat amid an answer. */
    setvbuf(stdout, output, _IOFBF, sizeof output);
    library = dlopen(arguments[1], RTLD_NOW);
    if (!library) { refuse(dlerror(), 0); return 1; }
    CALL("LiteRtCreateEnvironment", 0, NULL, &environment);
    if (failed) { refuse(failed, status); return 1; }
    printf("{\"ready\": true}\n");
    fflush(stdout);
    signal(SIGALRM, alarmed);
    while (fgets(lines[0], LINE, stdin)) {
        int requests = 1;
        if (sscanf(lines[0], "batch %d", &requests) == 1) {
            if (requests < 1 || requests > TOGETHER) requests = 1;
            else for (int i = 0; i < requests; i++) if (!fgets(lines[i], LINE, stdin)) return 0;
        }
        working = 1;
        alarm(BEAT_S);
        for (int i = 0; i < requests; i++) answer(lines[i]);
        working = 0;
        alarm(0);
        if (fflush(stdout)) return 0;
    }
    return 0;
}
