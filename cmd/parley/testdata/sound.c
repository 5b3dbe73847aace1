/*
 * A sound card that can be taken away, for tests on machines without one: it takes libasound's place, keeps time by the
 * machine's clock, and is there as long as a file is. What miniaudio asks of libasound is here, and no more.
 *
 * CARD_THERE     the file
 * CARD_SPEAKER   what is played goes here: 48 kHz, mono, 16 bit, no header
 *
 * The microphone hears a tone of 400 Hz, 20 dB below full scale. A card that has gone behaves as the kernel's does: its
 * descriptor is ready at once, with POLLERR and POLLNVAL and no more, and nothing can be read or written (ENODEV).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { RATE = 48000, PLAYBACK = 0, S16 = 2, RW_INTERLEAVED = 3, PREPARED = 2, RUNNING = 3, DISCONNECTED = 8 };

typedef struct {
	int stream, timer, speaker, running, lost;
	struct stat card;
	unsigned long buffer, avail_min;
	int64_t start, position; /* ns; frames that were read or written since */
} pcm;

/* A card that was given back is another one: what had the old one open has lost it for good. */
static struct stat plugged(void) {
	struct stat s = {0};
	const char *file = getenv("CARD_THERE");
	if (!file || stat(file, &s) != 0) s.st_ino = 0;
	return s;
}

static int there(pcm *p) {
	struct stat s = plugged();
	if (s.st_ino != p->card.st_ino || s.st_mtim.tv_sec != p->card.st_mtim.tv_sec || s.st_mtim.tv_nsec != p->card.st_mtim.tv_nsec)
		p->lost = 1;
	return !p->lost;
}

static int64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long avail(pcm *p) {
	int64_t clock = p->running ? (now() - p->start) * RATE / 1000000000LL : 0;
	if (p->stream != PLAYBACK) return clock - p->position;
	if (p->position < clock) p->position = clock; /* it has run dry */
	return (long)p->buffer - (long)(p->position - clock);
}

int snd_pcm_open(pcm **out, const char *name, int stream, int mode) {
	(void)name; (void)mode;
	struct stat card = plugged();
	if (card.st_ino == 0) return -ENODEV;
	pcm *p = calloc(1, sizeof *p);
	if (!p) return -ENOMEM;
	struct itimerspec tick = {{0, 2000000}, {0, 2000000}};
	p->card = card, p->stream = stream, p->buffer = 1440, p->avail_min = 256, p->speaker = -1;
	p->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	timerfd_settime(p->timer, 0, &tick, NULL);
	if (stream == PLAYBACK && getenv("CARD_SPEAKER"))
		p->speaker = open(getenv("CARD_SPEAKER"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	*out = p;
	return 0;
}

int snd_pcm_close(pcm *p) {
	close(p->timer);
	if (p->speaker >= 0) close(p->speaker);
	free(p);
	return 0;
}

int snd_pcm_state(pcm *p) { return !there(p) ? DISCONNECTED : p->running ? RUNNING : PREPARED; }
int snd_pcm_prepare(pcm *p) { p->running = 0, p->position = 0; return there(p) ? 0 : -ENODEV; }
int snd_pcm_drop(pcm *p) { return snd_pcm_prepare(p); }
int snd_pcm_drain(pcm *p) { return snd_pcm_prepare(p); }
int snd_pcm_reset(pcm *p) { return snd_pcm_prepare(p); }
int snd_pcm_start(pcm *p) { p->running = 1, p->position = 0, p->start = now(); return there(p) ? 0 : -ENODEV; }
int snd_pcm_recover(pcm *p, int err, int silent) { (void)silent; return err == -EPIPE ? snd_pcm_prepare(p) : err; }
int snd_pcm_nonblock(pcm *p, int on) { (void)p; (void)on; return 0; }
long snd_pcm_avail(pcm *p) { return there(p) ? avail(p) : -ENODEV; }
long snd_pcm_avail_update(pcm *p) { return snd_pcm_avail(p); }

/* Both wait until all is done, or the card has gone: then they tell how far they came. */
long snd_pcm_readi(pcm *p, int16_t *to, unsigned long frames) {
	long done = 0;
	for (; done < (long)frames; usleep(1000)) {
		long n = avail(p);
		if (!there(p)) return done ? done : -ENODEV;
		if (n > (long)p->buffer) return -EPIPE;
		for (; n > 0 && done < (long)frames; n--, p->position++)
			to[done++] = lrint(3276.7 * sin(2 * M_PI * 400 * (p->position % RATE) / RATE));
	}
	return done;
}

long snd_pcm_writei(pcm *p, const int16_t *from, unsigned long frames) {
	long done = 0;
	for (; done < (long)frames; usleep(1000)) {
		long n = avail(p);
		if (!there(p)) return done ? done : -ENODEV;
		if (n > (long)frames - done) n = frames - done;
		if (n <= 0) continue;
		if (p->speaker >= 0 && write(p->speaker, from + done, 2 * n) < 0) return -EIO;
		p->position += n, done += n;
	}
	return done;
}

int snd_pcm_poll_descriptors_count(pcm *p) { (void)p; return 1; }
int snd_pcm_poll_descriptors(pcm *p, struct pollfd *fds, unsigned n) {
	if (n < 1) return 0;
	fds[0].fd = p->timer, fds[0].events = POLLIN;
	return 1;
}
int snd_pcm_poll_descriptors_revents(pcm *p, struct pollfd *fds, unsigned n, unsigned short *revents) {
	(void)n;
	*revents = 0;
	if (!there(p)) {
		*revents = POLLERR | POLLNVAL;
		return 0;
	}
	uint64_t ticks;
	if (fds[0].revents & POLLIN && read(p->timer, &ticks, sizeof ticks) < 0) return 0;
	if (avail(p) >= (long)p->avail_min) *revents = p->stream == PLAYBACK ? POLLOUT : POLLIN;
	return 0;
}

/* One format, one rate, one channel. */
size_t snd_pcm_hw_params_sizeof(void) { return 64; }
size_t snd_pcm_sw_params_sizeof(void) { return 64; }
size_t snd_pcm_format_mask_sizeof(void) { return 64; }
size_t snd_pcm_info_sizeof(void) { return 64; }
int snd_pcm_hw_params_any(pcm *p, void *h) { (void)p; (void)h; return 0; }
int snd_pcm_hw_params_set_access(pcm *p, void *h, int a) { (void)p; (void)h; return a == RW_INTERLEAVED ? 0 : -EINVAL; }
int snd_pcm_hw_params_test_format(pcm *p, void *h, int f) { (void)p; (void)h; return f == S16 ? 0 : -EINVAL; }
int snd_pcm_hw_params_set_format(pcm *p, void *h, int f) { (void)p; (void)h; return f == S16 ? 0 : -EINVAL; }
int snd_pcm_hw_params_test_channels(pcm *p, void *h, unsigned n) { (void)p; (void)h; return n == 1 ? 0 : -EINVAL; }
int snd_pcm_hw_params_set_channels(pcm *p, void *h, unsigned n) { return snd_pcm_hw_params_test_channels(p, h, n); }
int snd_pcm_hw_params_set_channels_near(pcm *p, void *h, unsigned *n) { (void)p; (void)h; *n = 1; return 0; }
int snd_pcm_hw_params_set_rate_resample(pcm *p, void *h, unsigned on) { (void)p; (void)h; (void)on; return 0; }
int snd_pcm_hw_params_test_rate(pcm *p, void *h, unsigned r, int d) { (void)p; (void)h; (void)d; return r == RATE ? 0 : -EINVAL; }
int snd_pcm_hw_params_set_rate(pcm *p, void *h, unsigned r, int d) { return snd_pcm_hw_params_test_rate(p, h, r, d); }
int snd_pcm_hw_params_set_rate_near(pcm *p, void *h, unsigned *r, int *d) { (void)p; (void)h; (void)d; *r = RATE; return 0; }
int snd_pcm_hw_params_set_periods_near(pcm *p, void *h, unsigned *n, int *d) { (void)p; (void)h; (void)d; (void)n; return 0; }
int snd_pcm_hw_params_set_buffer_size_near(pcm *p, void *h, unsigned long *n) { (void)h; p->buffer = *n; return 0; }
int snd_pcm_hw_params_get_channels_min(void *h, unsigned *n) { (void)h; *n = 1; return 0; }
int snd_pcm_hw_params_get_channels_max(void *h, unsigned *n) { (void)h; *n = 1; return 0; }
int snd_pcm_hw_params_get_rate_min(void *h, unsigned *r, int *d) { (void)h; (void)d; *r = RATE; return 0; }
int snd_pcm_hw_params_get_rate_max(void *h, unsigned *r, int *d) { (void)h; (void)d; *r = RATE; return 0; }
int snd_pcm_hw_params(pcm *p, void *h) { (void)p; (void)h; return 0; }
int snd_pcm_sw_params_current(pcm *p, void *s) { (void)p; (void)s; return 0; }
int snd_pcm_sw_params_get_boundary(void *s, unsigned long *b) { (void)s; *b = 1UL << 30; return 0; }
int snd_pcm_sw_params_set_avail_min(pcm *p, void *s, unsigned long n) { (void)s; p->avail_min = n; return 0; }
int snd_pcm_sw_params_set_start_threshold(pcm *p, void *s, unsigned long n) { (void)p; (void)s; (void)n; return 0; }
int snd_pcm_sw_params_set_stop_threshold(pcm *p, void *s, unsigned long n) { (void)p; (void)s; (void)n; return 0; }
int snd_pcm_sw_params(pcm *p, void *s) { (void)p; (void)s; return 0; }
void *snd_pcm_get_chmap(pcm *p) { (void)p; return NULL; }

/* Nothing is listed: the card is opened by its name. */
int snd_device_name_hint(int card, const char *kind, void ***list) {
	static void *none[1];
	(void)card; (void)kind;
	*list = none;
	return 0;
}
char *snd_device_name_get_hint(const void *hint, const char *id) { (void)hint; (void)id; return NULL; }
int snd_device_name_free_hint(void **list) { (void)list; return 0; }
int snd_card_get_index(const char *name) { (void)name; return -ENODEV; }
int snd_config_update_free_global(void) { return 0; }
