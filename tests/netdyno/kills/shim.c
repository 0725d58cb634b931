/* Preloaded into a process that is to be killed between two calls that change files.
 *
 * Once killed_arm() was called, every such call below one of the given folders is counted, and in place of call number
 * `at` the process gets SIGKILL. Calls of other processes and of other places are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char roots[2][PATH_MAX];
static long at, count;
static pid_t armed;

void killed_arm(const char *one, const char *other, long position) {
    snprintf(roots[0], PATH_MAX, "%s/", one);
    snprintf(roots[1], PATH_MAX, "%s/", other);
    at = position;
    count = 0;
    armed = getpid();
}

long killed_count(void) { return count; }

static void counted(const char *path) {
    for (int i = 0; i < 2; i++)
        if (strncmp(path, roots[i], strlen(roots[i])) == 0) {
            if (++count == at) {
                kill(armed, SIGKILL);
                for (;;) pause();
            }
            return;
        }
}

static void of_handle(int handle) {
    char link[64], path[PATH_MAX];
    if (armed != getpid()) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    counted(path);
}

static void of_path(int folder, const char *name) {
    char link[64], path[2 * PATH_MAX];
    if (armed != getpid() || !name) return;
    if (name[0] == '/') {
        counted(name);
        return;
    }
    snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return;
    snprintf(path + length, sizeof path - length, "/%s", name);
    counted(path);
}

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OF_PATH(result, name, parameters, folder, path, arguments) \
    result name parameters { NEXT(name); of_path(folder, path); return next arguments; }
#define OF_HANDLE(result, name, parameters, handle, arguments) \
    result name parameters { NEXT(name); of_handle(handle); return next arguments; }

#define CHANGES (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC)
#define OPENS(name, folder, parameters, arguments) \
    int name parameters { \
        NEXT(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (flags & CHANGES) of_path(folder, path); \
        return next arguments; \
    }

OPENS(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, folder, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
OPENS(openat64, folder, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))

OF_HANDLE(ssize_t, write, (int h, const void *d, size_t n), h, (h, d, n))
OF_HANDLE(ssize_t, pwrite, (int h, const void *d, size_t n, off_t o), h, (h, d, n, o))
OF_HANDLE(ssize_t, pwrite64, (int h, const void *d, size_t n, off64_t o), h, (h, d, n, o))
OF_HANDLE(ssize_t, writev, (int h, const struct iovec *v, int n), h, (h, v, n))
OF_HANDLE(ssize_t, pwritev, (int h, const struct iovec *v, int n, off_t o), h, (h, v, n, o))
OF_HANDLE(ssize_t, pwritev64, (int h, const struct iovec *v, int n, off64_t o), h, (h, v, n, o))
OF_HANDLE(ssize_t, sendfile, (int h, int f, off_t *o, size_t n), h, (h, f, o, n))
OF_HANDLE(ssize_t, sendfile64, (int h, int f, off64_t *o, size_t n), h, (h, f, o, n))
OF_HANDLE(ssize_t, copy_file_range, (int f, off64_t *o, int h, off64_t *p, size_t n, unsigned int g), h, (f, o, h, p, n, g))
OF_HANDLE(int, ftruncate, (int h, off_t n), h, (h, n))
OF_HANDLE(int, ftruncate64, (int h, off64_t n), h, (h, n))
OF_HANDLE(int, posix_fallocate, (int h, off_t o, off_t n), h, (h, o, n))
OF_HANDLE(int, fchmod, (int h, mode_t m), h, (h, m))
OF_HANDLE(int, fsync, (int h), h, (h))
OF_HANDLE(int, fdatasync, (int h), h, (h))
OF_HANDLE(int, futimens, (int h, const struct timespec t[2]), h, (h, t))

OF_PATH(int, rename, (const char *p, const char *q), AT_FDCWD, q, (p, q))
OF_PATH(int, renameat, (int f, const char *p, int g, const char *q), g, q, (f, p, g, q))
OF_PATH(int, renameat2, (int f, const char *p, int g, const char *q, unsigned int w), g, q, (f, p, g, q, w))
OF_PATH(int, unlink, (const char *p), AT_FDCWD, p, (p))
OF_PATH(int, unlinkat, (int f, const char *p, int w), f, p, (f, p, w))
OF_PATH(int, remove, (const char *p), AT_FDCWD, p, (p))
OF_PATH(int, mkdir, (const char *p, mode_t m), AT_FDCWD, p, (p, m))
OF_PATH(int, mkdirat, (int f, const char *p, mode_t m), f, p, (f, p, m))
OF_PATH(int, rmdir, (const char *p), AT_FDCWD, p, (p))
OF_PATH(int, link, (const char *p, const char *q), AT_FDCWD, q, (p, q))
OF_PATH(int, linkat, (int f, const char *p, int g, const char *q, int w), g, q, (f, p, g, q, w))
OF_PATH(int, symlink, (const char *p, const char *q), AT_FDCWD, q, (p, q))
OF_PATH(int, chmod, (const char *p, mode_t m), AT_FDCWD, p, (p, m))
OF_PATH(int, fchmodat, (int f, const char *p, mode_t m, int w), f, p, (f, p, m, w))
OF_PATH(int, truncate, (const char *p, off_t n), AT_FDCWD, p, (p, n))
OF_PATH(int, utimensat, (int f, const char *p, const struct timespec t[2], int w), f, p, (f, p, t, w))
