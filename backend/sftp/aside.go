package sftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// aside sends requests of our own over a connection that belongs to the library,
// which waits for the answer to one before it sends the next where we need not:
//
//	library -> Write -> | requests, ours between two of the library's | -> server
//	library <- Read  <- | answers; ours are taken out, by their id    | <- server
//
// Our ids have the highest bit set; the library counts from 1 and comes there
// after two billion requests. An answer is bounded like the library's.
type aside struct {
	r      io.Reader
	tracer tracer // of what is written

	writing sync.Mutex // held from the first to the last byte of a packet; guards w
	w       io.WriteCloser
	part    []byte // of the length of the library's packet that is being written
	rest    int    // bytes of that packet which are still to come

	head []byte // of an answer that goes to the library, as far as it has not read it
	pass int    // bytes of it that follow

	mu      sync.Mutex // guards what follows
	last    uint32
	waiting map[uint32]chan<- answer
}

// answer is what follows the id of an answer.
type answer struct {
	kind byte
	body []byte
}

const (
	ours          = 1 << 31
	answerHead    = 4 + 1 + 4 // length, type and id, or version
	longestAnswer = 256 << 10 // what follows the length
)

func newAside(r io.Reader, w io.WriteCloser, trace func(string)) *aside {
	return &aside{r: r, w: w, tracer: tracer{tell: trace}, waiting: map[uint32]chan<- answer{}}
}

// Write implements io.Writer for the library, which writes packets one after
// another, each in one piece or more.
func (a *aside) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if a.rest == 0 && len(a.part) == 0 {
			a.writing.Lock()
		}
		size := min(len(p)-n, a.rest)
		if a.rest == 0 {
			size = min(len(p)-n, 4-len(a.part))
			if a.part = append(a.part, p[n:n+size]...); len(a.part) == 4 {
				a.rest, a.part = int(binary.BigEndian.Uint32(a.part)), a.part[:0]
				more := min(len(p)-n-size, a.rest)
				size, a.rest = size+more, a.rest-more
			}
		} else {
			a.rest -= size
		}
		a.tracer.see(p[n : n+size])
		sent, err := a.w.Write(p[n : n+size])
		n += sent
		if err != nil {
			a.rest, a.part = 0, a.part[:0] // there is no more to be said over this connection
		}
		if a.rest == 0 && len(a.part) == 0 {
			a.writing.Unlock()
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Close implements io.Closer, between two packets.
func (a *aside) Close() error {
	a.writing.Lock()
	defer a.writing.Unlock()
	return a.w.Close()
}

// Read implements io.Reader for the library.
func (a *aside) Read(p []byte) (int, error) {
	for {
		if len(a.head) > 0 {
			n := copy(p, a.head)
			a.head = a.head[n:]
			return n, nil
		}
		if a.pass > 0 {
			n, err := a.r.Read(p[:min(len(p), a.pass)])
			a.pass -= n
			return n, err
		}
		if err := a.receive(); err != nil {
			return 0, err
		}
	}
}

// receive reads the beginning of an answer, and all of it if it is ours.
func (a *aside) receive() error {
	head := make([]byte, answerHead)
	if _, err := io.ReadFull(a.r, head); err != nil {
		return err
	}
	size, id := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[5:])
	if size < answerHead-4 || size > longestAnswer {
		return fmt.Errorf("the server sends a packet of %d bytes", size)
	}
	if id < ours {
		a.head, a.pass = head, int(size)-(answerHead-4)
		return nil
	}
	body := make([]byte, size-(answerHead-4))
	if _, err := io.ReadFull(a.r, body); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	ch, ok := a.waiting[id]
	if !ok {
		return errors.New("the server answers what nobody has asked")
	}
	delete(a.waiting, id)
	ch <- answer{head[4], body}
	return nil
}

// send sends a request, whose bytes it keeps no longer than that takes. The answer
// comes into the channel that it returns, unless the connection breaks. An error is
// temporary.
func (a *aside) send(q request) (<-chan answer, error) {
	ch := make(chan answer, 1)
	a.mu.Lock()
	a.last++
	id := a.last | ours
	a.waiting[id] = ch
	a.mu.Unlock()
	binary.BigEndian.PutUint32(q, uint32(len(q)-4))
	binary.BigEndian.PutUint32(q[5:], id)
	a.writing.Lock()
	defer a.writing.Unlock()
	a.tracer.see(q)
	if _, err := a.w.Write(q); err != nil {
		return nil, &lost{fmt.Errorf("send: %w", err)}
	}
	return ch, nil
}
