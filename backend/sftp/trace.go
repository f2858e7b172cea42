package sftp

import "encoding/binary"

// requests are the names that [Config].Trace is told, by type of packet
// (draft-ietf-secsh-filexfer-02, section 3). Extended requests go by their own
// names, without what follows the @.
var requests = map[byte]string{
	1: "init", 3: "open", 4: "close", 5: "read", 6: "write", 7: "lstat", 8: "fstat", 9: "setstat", 10: "fsetstat", 11: "opendir", 12: "readdir",
	13: "remove", 14: "mkdir", 15: "rmdir", 16: "realpath", 17: "stat", 18: "rename", 19: "readlink", 20: "symlink",
}

const (
	extended    = 200
	packetHead  = 4 + 1              // length and type
	nameStart   = packetHead + 4 + 4 // of an extended request, after its id and the length of the name
	longestName = 64
)

// tracer tells the requests in a stream of packets, however it is cut.
type tracer struct {
	tell func(request string) // or nil
	head []byte               // of the packet that is passing, as much as matters
	left int                  // bytes of it that are still to come
}

// see is given the next bytes of the stream. It is not safe for concurrent use.
func (t *tracer) see(p []byte) {
	if t.tell == nil {
		return
	}
	for len(p) > 0 {
		if len(t.head) < packetHead {
			n := min(packetHead-len(t.head), len(p))
			t.head, p = append(t.head, p[:n]...), p[n:]
			if len(t.head) < packetHead {
				return
			}
			t.left = int(binary.BigEndian.Uint32(t.head)) - 1
		}
		n := min(t.left, len(p))
		t.head = append(t.head, p[:min(n, nameStart+longestName-len(t.head))]...)
		t.left, p = t.left-n, p[n:]
		if t.left <= 0 {
			t.tell(t.name())
			t.head = t.head[:0]
		}
	}
}

// name returns what the packet asks for.
func (t *tracer) name() string {
	kind := t.head[packetHead-1]
	if kind != extended || len(t.head) < nameStart {
		return requests[kind]
	}
	name := t.head[nameStart:]
	name = name[:min(len(name), int(binary.BigEndian.Uint32(t.head[nameStart-4:])))]
	for i, c := range name {
		if c == '@' {
			return string(name[:i])
		}
	}
	return string(name)
}
