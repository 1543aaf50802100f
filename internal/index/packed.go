package index

import (
	"encoding/binary"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// claimFields is what the index stores of a claim, apart from its terms.
type claimFields struct {
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

// packedClaim is the fields of a claim in serialized form, followed by whatever comes after them in their bucket. It
// includes the ID and the name, which the answer to a request needs. So they are on the same page of memory as the data
// that decides; any other page is likely to miss the processor's page table cache.
type packedClaim string

// Offsets in a packed claim. Numbers are little-endian.
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

	// alignment divides the length of every packed claim.
	alignment = 4

	// mintedBit is set beside the state if the controller minted the token.
	mintedBit = 0x80
	// barring is the state byte of a revoked key whose token was minted.
	barring = mintedBit | byte(StateRevoked)
)

// pack serializes the fields.
func (f *claimFields) pack() packedClaim {
	packed := make([]byte, 0, atID+len(f.id)+len(f.name)+alignment)
	packed = append(packed, f.digest[:]...)
	packed = append(packed, f.tenant[:]...)
	packed = binary.LittleEndian.AppendUint64(packed, uint64(f.notAfter)) //nolint:gosec // It comes back the same.
	packed = binary.LittleEndian.AppendUint32(packed, f.terms)
	packed = binary.LittleEndian.AppendUint32(packed, uint32(f.usageSlot))
	packed = binary.LittleEndian.AppendUint32(packed, f.created)
	packed = binary.LittleEndian.AppendUint32(packed, f.issued)
	packed = binary.LittleEndian.AppendUint16(packed, uint16(len(f.name))) //nolint:gosec // See the schema.
	state := uint8(f.state)
	if f.minted {
		state |= mintedBit
	}
	packed = append(packed, uint8(len(f.id)), state) //nolint:gosec // See the schema.
	packed = append(packed, f.id...)
	packed = append(packed, f.name...)
	for len(packed)%alignment != 0 {
		packed = append(packed, 0)
	}
	return packedClaim(packed)
}

// unpack returns the fields of a packed claim.
func (p packedClaim) unpack() claimFields {
	return claimFields{
		digest: p.digest(), tenant: p.tenant(), notAfter: p.notAfter(), terms: p.terms(), usageSlot: p.usageSlot(),
		created: p.created(), issued: p.issued(), state: p.state(), minted: p.minted(), id: p.id(), name: p.name(),
	}
}

func (p packedClaim) digest() (digest token.Digest) {
	copy(digest[:], p[atDigest:])
	return digest
}

func (p packedClaim) tenant() (tenant TenantID) {
	copy(tenant[:], p[atTenant:])
	return tenant
}

// isOf reports whether the claim is of a digest. Comparing strings would take a function call: 20 ns of a decision's
// 360.
func (p packedClaim) isOf(digest *token.Digest) bool {
	return p.uint64(atDigest) == binary.LittleEndian.Uint64(digest[0:]) &&
		p.uint64(atDigest+8) == binary.LittleEndian.Uint64(digest[8:]) &&
		p.uint64(atDigest+16) == binary.LittleEndian.Uint64(digest[16:]) &&
		p.uint64(atDigest+24) == binary.LittleEndian.Uint64(digest[24:])
}

// isTenants reports whether the claim is a tenant's.
func (p packedClaim) isTenants(tenant *TenantID) bool {
	return p.uint64(atTenant) == binary.LittleEndian.Uint64(tenant[0:]) &&
		p.uint64(atTenant+8) == binary.LittleEndian.Uint64(tenant[8:])
}

// sharesTenant reports whether two claims are of the same tenant.
func (p packedClaim) sharesTenant(other packedClaim) bool {
	return p.uint64(atTenant) == other.uint64(atTenant) && p.uint64(atTenant+8) == other.uint64(atTenant+8)
}

func (p packedClaim) notAfter() int64      { return int64(p.uint64(atNotAfter)) } //nolint:gosec // It was one.
func (p packedClaim) terms() uint32        { return p.uint32(atTerms) }
func (p packedClaim) usageSlot() UsageSlot { return UsageSlot(p.uint32(atUsageSlot)) }
func (p packedClaim) created() uint32      { return p.uint32(atCreated) }
func (p packedClaim) issued() uint32       { return p.uint32(atIssued) }
func (p packedClaim) state() State         { return State(p[atState] &^ mintedBit) }
func (p packedClaim) minted() bool         { return p[atState]&mintedBit != 0 }

// bars reports whether the claim is a revoked key's whose token was minted. Then no claim of the digest is accepted.
func (p packedClaim) bars() bool { return p[atState] == barring }

func (p packedClaim) idEnd() int   { return atID + int(p[atIDLen]) }
func (p packedClaim) nameEnd() int { return p.idEnd() + int(p[atNameLen]) + int(p[atNameLen+1])<<8 }

func (p packedClaim) id() string   { return string(p[atID:p.idEnd()]) }
func (p packedClaim) name() string { return string(p[p.idEnd():p.nameEnd()]) }

// length returns the length of the packed claim, without what comes after it.
func (p packedClaim) length() int { return (p.nameEnd() + alignment - 1) / alignment * alignment }

// alone returns the packed claim without what comes after it.
func (p packedClaim) alone() packedClaim { return p[:p.length()] }

func (p packedClaim) uint32(at int) uint32 {
	b := p[at : at+4]
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func (p packedClaim) uint64(at int) uint64 { return uint64At(string(p), at) }

// uint64At reads a little-endian number. The compiler makes one instruction of it.
func uint64At(s string, at int) uint64 {
	b := s[at : at+8]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// grant fills in a grant.
func (p packedClaim) grant(terms *Terms, into *Grant) {
	into.CredentialID, into.Name, into.ScopesHeader = p.id(), p.name(), terms.scopesHeader
	into.Tenant, into.Issued, into.NotAfter = p.tenant(), int64(p.issued()), p.notAfter()
	into.UsageSlot, into.State, into.Minted = p.usageSlot(), p.state(), p.minted()
}

// claim fills in a claim with everything that the index stores.
func (p packedClaim) claim(terms *Terms, into *Claim) {
	p.grant(terms, &into.Grant)
	into.Digest, into.Created = p.digest(), time.Unix(int64(p.created()), 0)
	into.Granted, into.Asked, into.Allowlists = terms.Granted, terms.Asked, terms.Allowlists
}

// fieldsOf returns the fields of an object's claim, given the number of its terms.
func fieldsOf(claim *Claim, object string, terms uint32) claimFields {
	return claimFields{
		digest: claim.Digest, tenant: claim.Tenant, notAfter: claim.NotAfter, terms: terms, usageSlot: claim.UsageSlot,
		created: seconds(claim.Created.Unix()), issued: seconds(claim.Issued), state: claim.State,
		minted: claim.Minted, id: claim.CredentialID, name: object,
	}
}
