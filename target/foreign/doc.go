// Package foreign reads the configurations of other iSCSI targets and makes ours of
// them, as far as they say what ours can: [Read] takes IET's ietd.conf (with
// initiators.allow, initiators.deny and targets.allow beside it), tgt's targets.conf,
// LIO's saveconfig.json and FreeBSD's ctl.conf.
//
// What cannot be carried over is not lost in silence: it is a [Note] with file and
// line. Who may use a disk is never widened: a target whose limits cannot be carried
// over lets nobody in until somebody says who.
package foreign
