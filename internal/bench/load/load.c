// load keeps a target busy through libiscsi and prints what it saw as one line
// of JSON. One thread serves all sessions, so that a target is measured, not the
// scheduling of its clients.
//
//	cc -O2 -o load load.c -liscsi
//	load URL WORKLOAD SIZE DEPTH SESSIONS WARM SECONDS DIGESTS SERVER
//
// WORKLOAD is randread, randwrite, read or write; SIZE bytes a command; DEPTH
// commands outstanding in each of SESSIONS; DIGESTS 0 or 1 (of headers; libiscsi
// has none of data); SERVER the process whose processor time is told.
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

enum { STEPS = 32, BUCKETS = 60 * STEPS };

struct session;

struct slot {
	struct session *session;
	unsigned char *buffer;
	struct scsi_iovec iov;
	uint64_t began;
};

struct session {
	struct iscsi_context *iscsi;
	int lun, events, outstanding, ready;
	uint32_t block;
	uint64_t places, next, random, done;
	struct slot *slots;
};

static int size, depth, sessions, writes, random_places;
static int measuring, stopping, epoll;
static uint64_t histogram[BUCKETS], done, errors;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "load: %s: %s\n", what, why);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

// bucket is the place in the histogram of a duration in ns: STEPS of them for
// each power of two.
static int bucket(uint64_t ns)
{
	if (ns < STEPS)
		return ns;
	int log = 63 - __builtin_clzll(ns);
	return (log - 4) * STEPS + (int)(ns >> (log - 5)) - STEPS;
}

static double microseconds(int bucket)
{
	if (bucket < STEPS)
		return bucket / 1e3;
	return ((uint64_t)(bucket % STEPS + STEPS) << (bucket / STEPS - 1)) / 1e3;
}

static double percentile(double p)
{
	uint64_t seen = 0;
	for (int i = 0; i < BUCKETS; i++) {
		seen += histogram[i];
		if (seen > p * done)
			return microseconds(i);
	}
	return 0;
}

static uint64_t place(struct session *s)
{
	if (!random_places)
		return s->next++ % s->places;
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random % s->places;
}

static void submit(struct slot *slot);

static void answered(struct iscsi_context *iscsi, int status, void *data, void *private)
{
	struct slot *slot = private;
	struct session *s = slot->session;
	s->outstanding--;
	if (status != SCSI_STATUS_GOOD) {
		if (!errors++)
			fprintf(stderr, "load: status %d: %s\n", status, iscsi_get_error(iscsi));
		stopping = 1;
	} else if (measuring) {
		histogram[bucket(now() - slot->began)]++;
		done++;
		s->done++;
	}
	scsi_free_scsi_task(data);
	if (!stopping)
		submit(slot);
}

static void submit(struct slot *slot)
{
	struct session *s = slot->session;
	uint64_t lba = place(s) * (size / s->block);
	struct scsi_task *task;
	slot->began = now();
	if (writes)
		task = iscsi_write16_iov_task(s->iscsi, s->lun, lba, NULL, size, s->block, 0, 0, 0, 0, 0, answered, slot, &slot->iov, 1);
	else
		task = iscsi_read16_iov_task(s->iscsi, s->lun, lba, size, s->block, 0, 0, 0, 0, 0, answered, slot, &slot->iov, 1);
	if (!task)
		die("submit", iscsi_get_error(s->iscsi));
	s->outstanding++;
}

static void await(struct session *s, int op)
{
	int events = iscsi_which_events(s->iscsi);
	struct epoll_event e = {.events = events, .data.ptr = s}; // POLLIN and POLLOUT are EPOLLIN and EPOLLOUT
	if (op == EPOLL_CTL_ADD || events != s->events)
		epoll_ctl(epoll, op, iscsi_get_fd(s->iscsi), &e);
	s->events = events;
}

static void service(struct session *s, int events)
{
	if (iscsi_service(s->iscsi, events) < 0)
		die("session", iscsi_get_error(s->iscsi));
	if (iscsi_which_events(s->iscsi) & POLLOUT) // send at once what has become ready
		iscsi_service(s->iscsi, POLLOUT);
	await(s, EPOLL_CTL_MOD);
}

static void connected(struct iscsi_context *iscsi, int status, void *data, void *private)
{
	struct session *s = private;
	if (status != SCSI_STATUS_GOOD)
		die("connect", iscsi_get_error(iscsi));
	s->ready = 1;
}

static void begin_connect(struct session *s, const char *text, int digests, int number)
{
	char name[64];
	snprintf(name, sizeof name, "iqn.2026-11.org.bootlun:load%d", number);
	s->iscsi = iscsi_create_context(name);
	struct iscsi_url *url = iscsi_parse_full_url(s->iscsi, text);
	if (!url)
		die(text, iscsi_get_error(s->iscsi));
	s->lun = url->lun;
	iscsi_set_targetname(s->iscsi, url->target);
	iscsi_set_session_type(s->iscsi, ISCSI_SESSION_NORMAL);
	iscsi_set_header_digest(s->iscsi, digests ? ISCSI_HEADER_DIGEST_CRC32C : ISCSI_HEADER_DIGEST_NONE);
	iscsi_set_noautoreconnect(s->iscsi, 1);
	if (iscsi_full_connect_async(s->iscsi, url->portal, url->lun, connected, s))
		die("connect", iscsi_get_error(s->iscsi));
	iscsi_destroy_url(url);
}

// connect_all logs all sessions in at once: some targets take a second for each.
static void connect_all(struct session *all)
{
	for (int ready = 0; ready < sessions;) {
		struct pollfd fds[sessions];
		for (int i = 0; i < sessions; i++)
			fds[i] = (struct pollfd){.fd = iscsi_get_fd(all[i].iscsi), .events = iscsi_which_events(all[i].iscsi)};
		poll(fds, sessions, 1000);
		ready = 0;
		for (int i = 0; i < sessions; i++) {
			if (fds[i].revents && iscsi_service(all[i].iscsi, fds[i].revents) < 0)
				die("connect", iscsi_get_error(all[i].iscsi));
			ready += all[i].ready;
		}
	}
}

static void prepare(struct session *s, int number)
{
	struct scsi_task *task = iscsi_readcapacity16_sync(s->iscsi, s->lun);
	struct scsi_readcapacity16 *capacity = task && task->status == SCSI_STATUS_GOOD ? scsi_datain_unmarshall(task) : NULL;
	if (!capacity)
		die("READ CAPACITY", iscsi_get_error(s->iscsi));
	s->block = capacity->block_length;
	s->places = (capacity->returned_lba + 1) / (size / s->block);
	s->next = s->places / sessions * number;
	s->random = 0x9e3779b97f4a7c15ull * (number + 1);
	scsi_free_scsi_task(task);
	s->slots = calloc(depth, sizeof *s->slots);
	for (int i = 0; i < depth; i++) {
		struct slot *slot = &s->slots[i];
		slot->session = s;
		if (posix_memalign((void **)&slot->buffer, 4096, size))
			die("memory", strerror(errno));
		memset(slot->buffer, i + number, size);
		slot->iov.iov_base = slot->buffer;
		slot->iov.iov_len = size;
	}
	await(s, EPOLL_CTL_ADD);
}

static void serve_until(uint64_t end)
{
	struct epoll_event events[64];
	while (now() < end && !errors) {
		int n = epoll_wait(epoll, events, 64, 10);
		for (int i = 0; i < n; i++)
			service(events[i].data.ptr, events[i].events);
	}
}

// cpu_seconds is the processor time of a process, 0 for this one.
static double cpu_seconds(pid_t process)
{
	clockid_t clock;
	struct timespec t = {0};
	if (!clock_getcpuclockid(process, &clock))
		clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	if (argc != 10)
		die("usage", "load URL WORKLOAD SIZE DEPTH SESSIONS WARM SECONDS DIGESTS");
	writes = strstr(argv[2], "write") != NULL;
	random_places = strncmp(argv[2], "rand", 4) == 0;
	size = atoi(argv[3]);
	depth = atoi(argv[4]);
	sessions = atoi(argv[5]);
	epoll = epoll_create1(0);
	struct session *all = calloc(sessions, sizeof *all);
	for (int i = 0; i < sessions; i++)
		begin_connect(&all[i], argv[1], atoi(argv[8]), i);
	connect_all(all);
	for (int i = 0; i < sessions; i++)
		prepare(&all[i], i);
	for (int i = 0; i < sessions; i++) {
		for (int j = 0; j < depth; j++)
			submit(&all[i].slots[j]);
		service(&all[i], 0);
	}
	serve_until(now() + (uint64_t)(atof(argv[6]) * 1e9));
	pid_t server = atoi(argv[9]);
	double cpu = cpu_seconds(0), served = cpu_seconds(server);
	uint64_t began = now();
	measuring = 1;
	serve_until(began + (uint64_t)(atof(argv[7]) * 1e9));
	measuring = 0;
	double seconds = (now() - began) / 1e9;
	cpu = cpu_seconds(0) - cpu;
	served = cpu_seconds(server) - served;
	stopping = 1;
	uint64_t least = ~0ull, most = 0;
	for (int i = 0; i < sessions; i++) {
		while (all[i].outstanding && !errors)
			serve_until(now() + 1000000);
		if (all[i].done < least)
			least = all[i].done;
		if (all[i].done > most)
			most = all[i].done;
	}
	printf("{\"ops\":%llu,\"seconds\":%f,\"cpu\":%f,\"server\":%f,\"p50\":%.1f,\"p99\":%.1f,\"fairness\":%.3f,\"errors\":%llu}\n", (unsigned long long)done,
	       seconds, cpu, served, percentile(.5), percentile(.99), most ? (double)least / most : 0, (unsigned long long)errors);
	return errors != 0;
}
