//go:build linux && !386

package kernel

import (
	"fmt"
	"strconv"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// param is a session's or connection's parameter (enum iscsi_param of Linux's include/scsi/iscsi_if.h).
type param uint32

const (
	paramMaxRecvDLength    param = 0
	paramMaxXmitDLength    param = 1
	paramHeaderDigest      param = 2
	paramDataDigest        param = 3
	paramInitialR2T        param = 4
	paramMaxR2T            param = 5
	paramImmediateData     param = 6
	paramFirstBurst        param = 7
	paramMaxBurst          param = 8
	paramPDUInOrder        param = 9
	paramDataSeqInOrder    param = 10
	paramERL               param = 11
	paramExpStatSN         param = 14
	paramTargetName        param = 15
	paramTPGT              param = 16
	paramPersistentAddress param = 17
	paramPersistentPort    param = 18
	paramRecoveryTimeout   param = 19
	paramUsername          param = 22
	paramUsernameIn        param = 23
	paramPassword          param = 24
	paramPasswordIn        param = 25
	paramFastAbort         param = 26
	paramAbortTimeout      param = 27
	paramLUResetTimeout    param = 28
	paramPingTimeout       param = 30
	paramRecvTimeout       param = 31
	paramIfaceName         param = 32
	paramInitiatorName     param = 34
	paramTgtResetTimeout   param = 35
	paramTargetAlias       param = 36
	paramBootRoot          param = 39
	paramBootNIC           param = 40
	paramBootTarget        param = 41
	paramDiscoverySession  param = 43
)

// hostParam is a SCSI host's parameter (enum iscsi_host_param).
type hostParam uint32

const (
	hostHWAddress hostParam = 0
	hostNetDev    hostParam = 2
)

// setting is one parameter to set. An empty value is not set.
type setting struct {
	param param
	name  string // for messages; the sysfs attribute's where there is one
	value string
	// optional settings are those that some kernel's iscsi_tcp does not know.
	optional bool
}

// Recovery timeouts of the SCSI error handler in seconds, open-iscsi's defaults.
const (
	abortTimeout       = 15
	lunResetTimeout    = 30
	targetResetTimeout = 30
)

// identity are the settings that say who is at both ends. The installed system's iscsid finds in them, through sysfs, all that
// it needs to log in again.
func identity(c *Config, persistent iscsi.TargetAddress) []setting {
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	set := []setting{
		{param: paramTargetName, name: "targetname", value: c.Target},
		{param: paramInitiatorName, name: "initiatorname", value: c.Initiator},
		{param: paramPersistentAddress, name: "persistent_address", value: persistent.Host},
		{param: paramPersistentPort, name: "persistent_port", value: strconv.Itoa(persistent.Port)},
		{param: paramIfaceName, name: "ifacename", value: c.Interface.Name},
		{param: paramRecoveryTimeout, name: "recovery_tmo", value: replacementSeconds(c.Timeouts.Replacement)},
		{param: paramFastAbort, name: "fast_abort", value: "1"},
		{param: paramAbortTimeout, name: "abort_tmo", value: strconv.Itoa(abortTimeout)},
		{param: paramLUResetTimeout, name: "lu_reset_tmo", value: strconv.Itoa(lunResetTimeout)},
		{param: paramTgtResetTimeout, name: "tgt_reset_tmo", value: strconv.Itoa(targetResetTimeout)},
		{param: paramPingTimeout, name: "ping_tmo", value: seconds(c.Timeouts.NOPTimeout)},
		{param: paramRecvTimeout, name: "recv_tmo", value: seconds(c.Timeouts.NOPInterval)},
		{param: paramBootRoot, name: "boot_root", value: c.Boot.Root, optional: true},
		{param: paramBootNIC, name: "boot_nic", value: c.Boot.NIC, optional: true},
		{param: paramBootTarget, name: "boot_target", value: c.Boot.Target, optional: true},
		{param: paramDiscoverySession, name: "discovery_session", value: "0", optional: true},
	}
	if c.CHAP == nil {
		return set
	}
	return append(set,
		setting{param: paramUsername, name: "username", value: c.CHAP.User.Name},
		setting{param: paramPassword, name: "password", value: c.CHAP.User.Secret.Reveal()},
		setting{param: paramPasswordIn, name: "password_in", value: c.CHAP.Target.Secret.Reveal()},
	)
}

// replacementSeconds is a recovery timeout as the kernel takes it: 0 fails I/O at once, -1 holds it back for ever.
func replacementSeconds(d time.Duration) string {
	if d < 0 {
		return "-1"
	}
	return strconv.FormatInt(int64(d/time.Second), 10)
}

// negotiated are the settings that a login decided.
func negotiated(r *iscsi.InitiatorResult, tpgt int) []setting {
	p := r.Params
	number := func(n int) string { return strconv.Itoa(n) }
	flag := func(b bool) string {
		if b {
			return "1"
		}
		return "0"
	}
	return []setting{
		{param: paramMaxRecvDLength, name: "max_recv_dlength", value: number(p.MaxRecvDataSegmentLength)},
		{param: paramMaxXmitDLength, name: "max_xmit_dlength", value: number(p.MaxSendDataSegmentLength)},
		{param: paramHeaderDigest, name: "header_digest", value: flag(p.HeaderDigest)},
		{param: paramDataDigest, name: "data_digest", value: flag(p.DataDigest)},
		{param: paramInitialR2T, name: "initial_r2t", value: flag(p.InitialR2T)},
		{param: paramMaxR2T, name: "max_outstanding_r2t", value: number(powerOfTwo(p.MaxOutstandingR2T))},
		{param: paramImmediateData, name: "immediate_data", value: flag(p.ImmediateData)},
		{param: paramMaxBurst, name: "max_burst_len", value: number(p.MaxBurstLength)},
		{param: paramFirstBurst, name: "first_burst_len", value: number(min(p.FirstBurstLength, p.MaxBurstLength))},
		{param: paramPDUInOrder, name: "data_pdu_in_order", value: flag(p.DataPDUInOrder)},
		{param: paramDataSeqInOrder, name: "data_seq_in_order", value: flag(p.DataSequenceInOrder)},
		{param: paramERL, name: "erl", value: "0"},
		{param: paramExpStatSN, name: "exp_statsn", value: fmt.Sprint(r.ExpStatSN)},
		{param: paramTPGT, name: "tpgt", value: number(tpgt)},
		{param: paramTargetAlias, name: "targetalias", value: r.TargetAlias, optional: true},
		// Without it iscsid, when it takes the session over, fails the target's proof.
		{param: paramUsernameIn, name: "username_in", value: r.TargetCHAPName},
	}
}

// powerOfTwo rounds up: iscsi_tcp sizes its pool of R2Ts by it and takes nothing else, and a pool that is larger than what the
// target may send does no harm.
func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}
