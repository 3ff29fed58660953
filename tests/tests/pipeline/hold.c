/* Holds a step of a program open: the C functions that HOLD names take up to 4 ms longer, before them and after them. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void hold(const char *step) {
  static unsigned seed;
  const char *held = getenv("HOLD"), *own = getenv("HOLD_SEED");
  int before = errno;
  if (held && strstr(held, step)) {
    if (!seed) seed = 1 + (own ? (unsigned)atoi(own) : 0);
    usleep(rand_r(&seed) % 4000);
  }
  errno = before;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define HELD(step, type, call) hold(step); type result = call; hold(step); return result

int open64(const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
  va_end(list);
  REAL(open64);
  HELD("open", int, real(path, flags, mode));
}

int flock(int file, int operation) {
  int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
  HELD("flock", int, real(file, operation));
}

int unlink(const char *path) {
  REAL(unlink);
  HELD("unlink", int, real(path));
}

struct dirent64 *readdir64(DIR *folder) {
  REAL(readdir64);
  HELD("readdir", struct dirent64 *, real(folder));
}

int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict out) {
  REAL(statx);
  HELD("stat", int, real(folder, path, flags, mask, out));
}
