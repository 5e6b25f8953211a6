package iscsi

// DefaultMaxRecvDataSegmentLength is what a side accepts until it declares
// something else (RFC 7143, 13.12).
const DefaultMaxRecvDataSegmentLength = 8192

// Params are the operational values in force on a connection, after a login
// (RFC 7143, 13). Lengths are in bytes, times in seconds.
type Params struct {
	HeaderDigest bool // CRC32C in both directions
	DataDigest   bool
	// MaxRecvDataSegmentLength is what this side declared and
	// MaxSendDataSegmentLength what the other side did: the longest data
	// segment of any PDU to receive and to send.
	MaxRecvDataSegmentLength int
	MaxSendDataSegmentLength int

	MaxConnections      int
	InitialR2T          bool // an R2T must precede all but immediate data
	ImmediateData       bool // a command may carry data
	MaxBurstLength      int
	FirstBurstLength    int // never more than MaxBurstLength
	MaxOutstandingR2T   int
	DefaultTime2Wait    int
	DefaultTime2Retain  int
	DataPDUInOrder      bool
	DataSequenceInOrder bool
	ErrorRecoveryLevel  int
	ProtocolLevel       int // iSCSIProtocolLevel; 2 adds RFC 7144's functions
}

// DefaultParams returns the values in force when nothing is negotiated.
func DefaultParams() Params {
	return Params{
		MaxRecvDataSegmentLength: DefaultMaxRecvDataSegmentLength,
		MaxSendDataSegmentLength: DefaultMaxRecvDataSegmentLength,
		MaxConnections:           1,
		InitialR2T:               true,
		ImmediateData:            true,
		MaxBurstLength:           262144,
		FirstBurstLength:         65536,
		MaxOutstandingR2T:        1,
		DefaultTime2Wait:         2,
		DefaultTime2Retain:       20,
		DataPDUInOrder:           true,
		DataSequenceInOrder:      true,
		ErrorRecoveryLevel:       0,
		ProtocolLevel:            1,
	}
}

// DigestChoice says which digests a side is ready to use, best first.
type DigestChoice uint8

// Digest choices. The zero value offers no digest and accepts none.
const (
	DigestOff     DigestChoice = iota // None
	DigestAllow                       // None,CRC32C: only if the other side insists
	DigestPrefer                      // CRC32C,None
	DigestRequire                     // CRC32C: no login without it
)

// list returns the choice as the list of values that is offered.
func (d DigestChoice) list() string {
	return [...]string{"None", "None,CRC32C", "CRC32C,None", "CRC32C"}[d&3]
}

// Offer is what a side wants of a login: the values it offers as initiator and
// answers with as target. The result is never more than either side offers. The
// zero value is a good choice for a fast disk without digests; fields that are
// zero mean what their comment says.
type Offer struct {
	HeaderDigest DigestChoice
	DataDigest   DigestChoice

	MaxConnections           int  // 0 means 1
	InitialR2T               bool // true: no unsolicited data but immediate data
	NoImmediateData          bool // true: no data in commands
	MaxRecvDataSegmentLength int  // 0 means 262144
	MaxBurstLength           int  // 0 means 1 MiB
	FirstBurstLength         int  // 0 means 262144
	MaxOutstandingR2T        int  // 0 means 1
	DefaultTime2Wait         int
	DefaultTime2Retain       int
	DataPDUAnyOrder          bool // true: ready for the PDUs of a burst in any order (DataPDUInOrder=No)
	DataSequenceAnyOrder     bool // true: ready for bursts in any order (DataSequenceInOrder=No)
	ErrorRecoveryLevel       int
	ProtocolLevel            int // 0 means 1
}

// WithDefaults returns the offer with what its zero fields mean filled in, and every
// value within its key's range.
func (o Offer) WithDefaults() Offer {
	set := func(v *int, def, lo, hi int) {
		if *v == 0 {
			*v = def
		}
		*v = max(lo, min(*v, hi))
	}
	set(&o.MaxConnections, 1, 1, 65535)
	set(&o.MaxRecvDataSegmentLength, 262144, 512, MaxDataSegmentLength)
	set(&o.MaxBurstLength, 1<<20, 512, MaxDataSegmentLength)
	set(&o.FirstBurstLength, 262144, 512, o.MaxBurstLength)
	set(&o.MaxOutstandingR2T, 1, 1, 65535)
	set(&o.DefaultTime2Wait, 0, 0, 3600)
	set(&o.DefaultTime2Retain, 0, 0, 3600)
	set(&o.ErrorRecoveryLevel, 0, 0, 2)
	set(&o.ProtocolLevel, 1, 1, 31)
	return o
}
