package restore

import (
	"cmp"
	"encoding/binary"
)

// The value of an attribute that holds an ACL, as the kernel's
// posix_acl_xattr.h has it, little endian:
//
//	| version u32 | lines of: tag u16 | permissions u16 | id u32 |
const (
	aclHeader = 4
	aclEntry  = 8

	aclUser     = 0x02 // a user with an id
	aclGroupObj = 0x04 // the owning group
	aclGroup    = 0x08 // a group with an id
)

// aclLine is a line of an ACL.
type aclLine struct {
	tag, perm uint16
	id        uint32
}

func parseACLLine(b []byte) aclLine {
	return aclLine{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])}
}

func (e aclLine) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, e.tag)
	b = binary.LittleEndian.AppendUint16(b, e.perm)
	return binary.LittleEndian.AppendUint32(b, e.id)
}

func (e aclLine) compare(f aclLine) int {
	return cmp.Or(cmp.Compare(e.tag, f.tag), cmp.Compare(e.id, f.id))
}

// groupRights returns what an access ACL allows the owning group. With an ACL,
// the group bits of the mode are the mask, which can be more; without it they
// would be the group's own. What is not understood allows nothing.
func groupRights(acl []byte) uint32 {
	if len(acl) < aclHeader {
		return 0
	}
	for b := acl[aclHeader:]; len(b) >= aclEntry; b = b[aclEntry:] {
		if e := parseACLLine(b); e.tag == aclGroupObj {
			return uint32(e.perm) & 7
		}
	}
	return 0
}
