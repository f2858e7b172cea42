package export

import (
	"encoding/binary"
	"fmt"
	"strings"

	"vault/snapshot"
)

// GNU tar and bsdtar take ACLs from records of their own, as the text of acl(5) with
// a line an entry, and with --acls do not look at the attributes in which Linux
// keeps them. Without these records they would take the mask, which stands in the
// mode, for the rights of the group.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"

	aclAccessRecord  = "SCHILY.acl.access"
	aclDefaultRecord = "SCHILY.acl.default"
)

// aclTags are the kinds of lines and how they begin, by the tags of Linux
// (posix_acl_xattr.h).
var aclTags = map[uint16]string{0x01: "user:", 0x02: "user:", 0x04: "group:", 0x08: "group:", 0x10: "mask:", 0x20: "other:"}

// aclText returns the text of an ACL as Linux keeps it, with numbers for names:
//
//	| version u32 | lines of: tag u16 | permissions u16 | id u32 |
//
// It is empty if the ACL is not understood.
func aclText(value []byte) string {
	const head, line, version = 4, 8, 2
	if len(value) < head+line || (len(value)-head)%line != 0 || binary.LittleEndian.Uint32(value) != version {
		return ""
	}
	var b strings.Builder
	for v := value[head:]; len(v) > 0; v = v[line:] {
		tag, perm, id := binary.LittleEndian.Uint16(v), binary.LittleEndian.Uint16(v[2:]), binary.LittleEndian.Uint32(v[4:])
		kind, ok := aclTags[tag]
		if !ok || perm > 7 {
			return ""
		}
		b.WriteString(kind)
		if tag == 0x02 || tag == 0x08 {
			fmt.Fprint(&b, id)
		}
		b.WriteString(":" + rights(perm) + "\n")
	}
	return b.String()
}

func rights(perm uint16) string {
	b := []byte("rwx")
	for i := range b {
		if perm>>(2-i)&1 == 0 {
			b[i] = '-'
		}
	}
	return string(b)
}

// addACLs adds the records of the ACLs among a header's extended attributes. As in
// archives of GNU tar, a directory that has only a default ACL has its mode as the
// other one.
func addACLs(records map[string]string, n *snapshot.Node) {
	access, hasAccess := records[xattrPrefix+aclAccess]
	standard, hasDefault := records[xattrPrefix+aclDefault]
	if !hasAccess && !hasDefault {
		return
	}
	text := aclText([]byte(access))
	if !hasAccess {
		text = fmt.Sprintf("user::%s\ngroup::%s\nother::%s\n", rights(uint16(n.Mode>>6&7)), rights(uint16(n.Mode>>3&7)), rights(uint16(n.Mode&7)))
	}
	if text != "" {
		records[aclAccessRecord] = text
	}
	if text := aclText([]byte(standard)); text != "" {
		records[aclDefaultRecord] = text
	}
}
