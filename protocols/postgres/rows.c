/*
 * Runs of DataRow frames: counted, or written anew with masked values.
 *
 * The bytes come from a server that may be hostile. Every read is preceded by a comparison with the end of the input, every write
 * by one with the end of the output, in unsigned arithmetic that can't wrap: sizes of values are below 2^31, sums are size_t (64 bit).
 *
 * Masking takes two passes over the same frames. hg_scan checks each row, lists the cells that Python has to shape and adds up the most that the output can take; hg_write then writes, taking those cells' new values in the order listed.
 * Only hg_write looks at what a value consists of: a value that is cut never grows, so its own size bounds it.
 *
 * DataRow: 'D', int32 length, int16 number of columns, for each int32 size (-1: NULL) and the value (PostgreSQL 18 docs 54.7).
 */
enum { HG_PASS, HG_NULL, HG_CONSTANT, HG_PARTIAL, HG_OUTSIDE, HG_HASHED };
enum { HG_STOPPED, HG_MALFORMED, HG_CELLS_FULL };

#define HG_NULL_SIZE UINT32_MAX

typedef struct {
	uint32_t action;
	uint32_t keep; /* HG_PARTIAL: characters that stay */
	uint32_t at;   /* HG_CONSTANT: where its text begins in the constants; HG_HASHED: which of the states */
	uint32_t size;
} hg_column;

typedef struct {
	uint32_t column;
	uint32_t size; /* of a new value: HG_NULL_SIZE is NULL */
	size_t at;
} hg_cell;

typedef struct {
	size_t used;    /* bytes of whole frames */
	size_t out;     /* bytes they become, at most */
	size_t payload; /* bytes of their bodies */
	uint32_t rows;
	uint32_t cells;
	uint32_t status;
} hg_batch;

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v)
{
	p[0] = v >> 24;
	p[1] = v >> 16;
	p[2] = v >> 8;
	p[3] = v;
}

/* Count frames of one tag. Stops at another tag, at a frame that is not whole, or at a length that the caller has to judge. */
void hg_count(const char *data, size_t start, size_t end, int tag, uint32_t max_length, hg_batch *b)
{
	const uint8_t *in = (const uint8_t *)data;
	size_t at = start;

	memset(b, 0, sizeof(*b));
	while (end - at >= 5 && in[at] == tag) {
		uint32_t length = get32(in + at + 1);

		if (length < 4 || length > max_length || length > end - at - 1)
			break;
		at += 1 + (size_t)length;
		b->payload += length - 4;
		b->rows++;
	}
	b->used = at - start;
}

/* Where the characters begin: every byte, or in UTF-8 every byte but 10xxxxxx (and the first, whatever it is). */
static size_t characters(const uint8_t *v, size_t n, int utf8)
{
	size_t count = 0;

	if (!utf8)
		return n;
	for (size_t i = 0; i < n; i++)
		count += i == 0 || (v[i] & 0xC0) != 0x80;
	return count;
}

/* What the part behind an e-mail address's '@' may consist of: letters, digits, '-', '.', and whatever is not ASCII. */
static int in_domain(uint8_t c)
{
	return ((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c >= 0x80;
}

/* Index of the '@' of something that looks like an e-mail address as a whole; n if it doesn't. */
static size_t at_sign(const uint8_t *v, size_t n)
{
	const uint8_t *sign = memrchr(v, '@', n);
	size_t at;

	if (!sign || sign == v)
		return n;
	at = (size_t)(sign - v);
	if (!memchr(sign, '.', n - at))
		return n;
	for (size_t i = at + 1; i < n; i++)
		if (!in_domain(v[i]))
			return n;
	return at;
}

typedef struct {
	size_t head;  /* bytes that stay at the front */
	size_t stars; /* characters that are hidden */
	size_t tail;  /* bytes that stay at the end */
} hg_cut;

static hg_cut cut_value(const uint8_t *v, size_t n, uint32_t keep, int utf8)
{
	hg_cut cut = { 0, 0, 0 };
	size_t at = at_sign(v, n);

	if (at < n) {
		size_t local = characters(v, at, utf8);

		cut.tail = n - at;
		cut.stars = local;
		if (local > 1) {
			/* The first character and no more: all bytes up to where the second begins. */
			cut.head = 1;
			while (utf8 && cut.head < at && (v[cut.head] & 0xC0) == 0x80)
				cut.head++;
			cut.stars = local - 1;
		}
		return cut;
	}
	cut.stars = characters(v, n, utf8);
	/* A value that is no longer than what may stay would stay whole. */
	if (keep < cut.stars) {
		size_t i = n;

		for (uint32_t left = keep; left > 0; left--) {
			i--;
			while (utf8 && i > 0 && (v[i] & 0xC0) == 0x80)
				i--;
		}
		cut.tail = n - i;
		cut.stars -= keep;
	}
	return cut;
}

/* One row's body: checks it, lists its outside cells, returns the most that the new body takes without those, or -1 when malformed. */
static int64_t scan_row(const uint8_t *in, size_t at, size_t end, const hg_column *columns, uint32_t count, hg_cell *cells,
			uint32_t *n_cells)
{
	int64_t out = 2;

	if (end - at < 2 || ((uint32_t)in[at] << 8 | in[at + 1]) != count)
		return -1;
	at += 2;
	for (uint32_t c = 0; c < count; c++) {
		uint32_t size;

		if (end - at < 4)
			return -1;
		size = get32(in + at);
		at += 4;
		out += 4;
		if (size == UINT32_MAX)
			continue;
		if (size > INT32_MAX || size > end - at)
			return -1;
		switch (columns[c].action) {
		case HG_PASS:
		case HG_PARTIAL: /* a star stands for a character, which is a byte at least */
			out += size;
			break;
		case HG_CONSTANT:
			out += columns[c].size;
			break;
		case HG_HASHED:
			out += 2 * HG_HASH_BYTES;
			break;
		case HG_OUTSIDE:
			cells[*n_cells].column = c;
			cells[*n_cells].size = size;
			cells[*n_cells].at = at;
			(*n_cells)++;
			break;
		default: /* HG_NULL */
			break;
		}
		at += size;
	}
	return at == end ? out : -1;
}

/*
 * Check whole DataRow frames from `start` on. `cells` has room for `max_cells`, at least `count`; a row whose cells may not fit ends the
 * batch before it (HG_CELLS_FULL).
 */
void hg_scan(const char *data, size_t start, size_t end, uint32_t max_length, const hg_column *columns, uint32_t count,
	     hg_cell *cells, uint32_t max_cells, hg_batch *b)
{
	const uint8_t *in = (const uint8_t *)data;
	size_t at = start;

	memset(b, 0, sizeof(*b));
	while (end - at >= 5 && in[at] == 'D') {
		uint32_t length = get32(in + at + 1);
		int64_t out;

		if (length < 4 || length > max_length || length > end - at - 1)
			break;
		if (max_cells - b->cells < count) {
			b->status = HG_CELLS_FULL;
			break;
		}
		out = scan_row(in, at + 5, at + 1 + (size_t)length, columns, count, cells, &b->cells);
		if (out < 0) {
			b->status = HG_MALFORMED;
			break;
		}
		at += 1 + (size_t)length;
		b->out += 5 + (size_t)out;
		b->payload += length - 4;
		b->rows++;
	}
	b->used = at - start;
}

typedef struct {
	uint8_t *p;
	size_t left;
} hg_out;

static int put(hg_out *out, const uint8_t *bytes, size_t n)
{
	if (n > out->left)
		return -1;
	memcpy(out->p, bytes, n);
	out->p += n;
	out->left -= n;
	return 0;
}

static int put_size(hg_out *out, uint32_t size)
{
	uint8_t bytes[4];

	put32(bytes, size);
	return put(out, bytes, 4);
}

static int put_partial(hg_out *out, const uint8_t *v, size_t n, uint32_t keep, int utf8)
{
	hg_cut cut = cut_value(v, n, keep, utf8);

	if (put_size(out, (uint32_t)(cut.head + cut.stars + cut.tail)) || put(out, v, cut.head) || cut.stars > out->left)
		return -1;
	memset(out->p, '*', cut.stars);
	out->p += cut.stars;
	out->left -= cut.stars;
	return put(out, v + n - cut.tail, cut.tail);
}

static int put_hash(hg_out *out, const hg_hash *state, const uint8_t *v, size_t n)
{
	uint8_t hex[2 * HG_HASH_BYTES];

	hash_hex(state, v, n, hex);
	return put_size(out, sizeof(hex)) || put(out, hex, sizeof(hex));
}

/*
 * Write what hg_scan went over: `used` and `cells` are its findings, the cells now hold place and size of the new values in `values`.
 * Returns the bytes written; 0 if they would not fit or the input is not what was scanned.
 */
size_t hg_write(const char *data, size_t start, size_t used, const hg_column *columns, uint32_t count, int utf8, const char *constants,
		size_t constants_size, const hg_hash *hashes, uint32_t n_hashes, const hg_cell *cells, uint32_t n_cells,
		const char *values, size_t values_size, char *into, size_t room)
{
	const uint8_t *in = (const uint8_t *)data + start;
	const uint8_t *end = in + used;
	hg_out out = { (uint8_t *)into, room };
	uint32_t cell = 0;

	while (end - in >= 7) {
		const uint8_t *next = in + 1 + get32(in + 1);
		uint8_t *frame = out.p;

		if (next > end || put(&out, in, 7))
			return 0;
		in += 7;
		for (uint32_t c = 0; c < count; c++) {
			const hg_column *column = &columns[c];
			uint32_t size;
			int bad = 0;

			if (next - in < 4)
				return 0;
			size = get32(in);
			in += 4;
			if (size == UINT32_MAX) {
				if (put_size(&out, size))
					return 0;
				continue;
			}
			if (size > (size_t)(next - in))
				return 0;
			switch (column->action) {
			case HG_PASS:
				bad = put_size(&out, size) || put(&out, in, size);
				break;
			case HG_CONSTANT:
				bad = column->size > constants_size || column->at > constants_size - column->size || put_size(&out, column->size) ||
				      put(&out, (const uint8_t *)constants + column->at, column->size);
				break;
			case HG_PARTIAL:
				bad = put_partial(&out, in, size, column->keep, utf8);
				break;
			case HG_HASHED:
				bad = column->at >= n_hashes || put_hash(&out, &hashes[column->at], in, size);
				break;
			case HG_OUTSIDE: {
				const hg_cell *fresh = &cells[cell];

				if (cell++ >= n_cells)
					return 0;
				bad = put_size(&out, fresh->size);
				if (fresh->size != HG_NULL_SIZE)
					bad = bad || fresh->size > values_size || fresh->at > values_size - fresh->size ||
					      put(&out, (const uint8_t *)values + fresh->at, fresh->size);
				break;
			}
			default: /* HG_NULL */
				bad = put_size(&out, HG_NULL_SIZE);
				break;
			}
			if (bad)
				return 0;
			in += size;
		}
		put32(frame + 1, (uint32_t)(out.p - frame - 1));
	}
	return in == end ? (size_t)(out.p - (uint8_t *)into) : 0;
}
