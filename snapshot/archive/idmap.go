package archive

import "encoding/binary"

// IDRange says that the Count numbers from From on are stored as those from To on.
type IDRange struct{ From, To, Count uint32 }

// IDMap says as which numbers the owners of a volume are stored, and those in its
// ACLs: as a user namespace sees them, for instance, whose files are read from
// outside. A number that is in no range is stored as 65534, as the system shows it
// inside. Owners that are mapped are stored without names. An IDMap is not changed
// by use and may serve several volumes.
type IDMap struct{ Users, Groups []IDRange }

// nobody is the number of whoever has none in a namespace; see user_namespaces(7).
const nobody = 65534

func (m *IDMap) user(id uint32) uint32 {
	if m == nil {
		return id
	}
	return lookID(m.Users, id)
}

func (m *IDMap) group(id uint32) uint32 {
	if m == nil {
		return id
	}
	return lookID(m.Groups, id)
}

func lookID(ranges []IDRange, id uint32) uint32 {
	for _, r := range ranges {
		if id >= r.From && id-r.From < r.Count {
			return r.To + (id - r.From)
		}
	}
	return nobody
}

// The attributes that hold ACLs, in the form of linux/posix_acl_xattr.h: a version of
// four bytes, then entries of tag, permissions (two bytes each) and number (four).
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"

	aclHead, aclEntry = 4, 8
	aclUser, aclGroup = 2, 8 // the tags whose number counts
)

// acl maps the numbers in an ACL.
func (m *IDMap) acl(b []byte) {
	if len(b) < aclHead {
		return
	}
	for b = b[aclHead:]; len(b) >= aclEntry; b = b[aclEntry:] {
		id := binary.LittleEndian.Uint32(b[4:])
		switch binary.LittleEndian.Uint16(b) {
		case aclUser:
			binary.LittleEndian.PutUint32(b[4:], m.user(id))
		case aclGroup:
			binary.LittleEndian.PutUint32(b[4:], m.group(id))
		}
	}
}
