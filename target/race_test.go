//go:build race

package target_test

// raceDetector says that the race detector is on, under which pools lose what
// they are given.
const raceDetector = true
