package index

import (
	"encoding/binary"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// record is what the index stores of a claim, apart from its terms.
type record struct {
	digest    token.Digest
	tenant    TenantID
	notAfter  int64
	terms     uint32
	usageSlot UsageSlot
	created   uint32
	issued    uint32
	state     State
	minted    bool
	id        string
	name      string
}

// entry is a record in its serialized form, followed by whatever comes after it in its bucket. It includes the ID and
// the name, which the answer to a request needs. So they are on the same page of memory as the data that decides; any
// other page is likely to miss the processor's page table cache.
type entry string

// Offsets in an entry. Numbers are little-endian.
const (
	atDigest    = 0
	atTenant    = atDigest + 32
	atNotAfter  = atTenant + 16
	atTerms     = atNotAfter + 8
	atUsageSlot = atTerms + 4
	atCreated   = atUsageSlot + 4
	atIssued    = atCreated + 4
	atNameLen   = atIssued + 4
	atIDLen     = atNameLen + 2
	atState     = atIDLen + 1
	atID        = atState + 1

	// alignment divides the length of every entry.
	alignment = 4

	// mintedBit is set beside the state if the controller minted the token.
	mintedBit = 0x80
	// barring is the state byte of a revoked key whose token was minted.
	barring = mintedBit | byte(StateRevoked)
)

// entry returns the record in its serialized form.
func (r *record) entry() entry {
	e := make([]byte, 0, atID+len(r.id)+len(r.name)+alignment)
	e = append(e, r.digest[:]...)
	e = append(e, r.tenant[:]...)
	e = binary.LittleEndian.AppendUint64(e, uint64(r.notAfter)) //nolint:gosec // It comes back the same.
	e = binary.LittleEndian.AppendUint32(e, r.terms)
	e = binary.LittleEndian.AppendUint32(e, uint32(r.usageSlot))
	e = binary.LittleEndian.AppendUint32(e, r.created)
	e = binary.LittleEndian.AppendUint32(e, r.issued)
	e = binary.LittleEndian.AppendUint16(e, uint16(len(r.name))) //nolint:gosec // See the schema.
	state := uint8(r.state)
	if r.minted {
		state |= mintedBit
	}
	e = append(e, uint8(len(r.id)), state) //nolint:gosec // See the schema.
	e = append(e, r.id...)
	e = append(e, r.name...)
	for len(e)%alignment != 0 {
		e = append(e, 0)
	}
	return entry(e)
}

// record returns the record of an entry.
func (e entry) record() record {
	return record{
		digest: e.digest(), tenant: e.tenant(), notAfter: e.notAfter(), terms: e.terms(), usageSlot: e.usageSlot(),
		created: e.created(), issued: e.issued(), state: e.state(), minted: e.minted(), id: e.id(), name: e.name(),
	}
}

func (e entry) digest() (digest token.Digest) {
	copy(digest[:], e[atDigest:])
	return digest
}

func (e entry) tenant() (tenant TenantID) {
	copy(tenant[:], e[atTenant:])
	return tenant
}

// isOf reports whether the entry is of a digest. Comparing strings would take a function call: 20 ns of a decision's
// 360.
func (e entry) isOf(digest *token.Digest) bool {
	return e.uint64(atDigest) == binary.LittleEndian.Uint64(digest[0:]) &&
		e.uint64(atDigest+8) == binary.LittleEndian.Uint64(digest[8:]) &&
		e.uint64(atDigest+16) == binary.LittleEndian.Uint64(digest[16:]) &&
		e.uint64(atDigest+24) == binary.LittleEndian.Uint64(digest[24:])
}

// isTenants reports whether the entry is of a tenant.
func (e entry) isTenants(tenant *TenantID) bool {
	return e.uint64(atTenant) == binary.LittleEndian.Uint64(tenant[0:]) &&
		e.uint64(atTenant+8) == binary.LittleEndian.Uint64(tenant[8:])
}

// sharesTenant reports whether two entries are of the same tenant.
func (e entry) sharesTenant(other entry) bool {
	return e.uint64(atTenant) == other.uint64(atTenant) && e.uint64(atTenant+8) == other.uint64(atTenant+8)
}

func (e entry) notAfter() int64      { return int64(e.uint64(atNotAfter)) } //nolint:gosec // It was one.
func (e entry) terms() uint32        { return e.uint32(atTerms) }
func (e entry) usageSlot() UsageSlot { return UsageSlot(e.uint32(atUsageSlot)) }
func (e entry) created() uint32      { return e.uint32(atCreated) }
func (e entry) issued() uint32       { return e.uint32(atIssued) }
func (e entry) state() State         { return State(e[atState] &^ mintedBit) }
func (e entry) minted() bool         { return e[atState]&mintedBit != 0 }

// bars reports whether the entry is of a revoked key whose token was minted. No claim of the digest is accepted then.
func (e entry) bars() bool { return e[atState] == barring }

func (e entry) idEnd() int   { return atID + int(e[atIDLen]) }
func (e entry) nameEnd() int { return e.idEnd() + int(e[atNameLen]) + int(e[atNameLen+1])<<8 }

func (e entry) id() string   { return string(e[atID:e.idEnd()]) }
func (e entry) name() string { return string(e[e.idEnd():e.nameEnd()]) }

// length returns the length of the entry, without what comes after it.
func (e entry) length() int { return (e.nameEnd() + alignment - 1) / alignment * alignment }

// alone returns the entry without what comes after it.
func (e entry) alone() entry { return e[:e.length()] }

func (e entry) uint32(at int) uint32 {
	b := e[at : at+4]
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func (e entry) uint64(at int) uint64 { return uint64At(string(e), at) }

// uint64At reads a little-endian number. The compiler makes one instruction of it.
func uint64At(s string, at int) uint64 {
	b := s[at : at+8]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// grant fills in a grant.
func (e entry) grant(terms *Terms, into *Grant) {
	into.CredentialID, into.Name, into.ScopesHeader = e.id(), e.name(), terms.scopesHeader
	into.Tenant, into.Issued, into.NotAfter = e.tenant(), int64(e.issued()), e.notAfter()
	into.UsageSlot, into.State, into.Minted = e.usageSlot(), e.state(), e.minted()
}

// claim fills in a claim with everything that the index stores.
func (e entry) claim(terms *Terms, into *Claim) {
	e.grant(terms, &into.Grant)
	into.Digest, into.Created = e.digest(), time.Unix(int64(e.created()), 0)
	into.Granted, into.Asked, into.Allowlists = terms.Granted, terms.Asked, terms.Allowlists
}

// newRecord returns the record of an object's claim.
func newRecord(claim *Claim, object string, terms uint32) record {
	return record{
		digest: claim.Digest, tenant: claim.Tenant, notAfter: claim.NotAfter, terms: terms, usageSlot: claim.UsageSlot,
		created: seconds(claim.Created.Unix()), issued: seconds(claim.Issued), state: claim.State,
		minted: claim.Minted, id: claim.CredentialID, name: object,
	}
}
