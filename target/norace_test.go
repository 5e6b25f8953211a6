//go:build !race

package target_test

// raceDetector says that the race detector is on.
const raceDetector = false
