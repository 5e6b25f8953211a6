// Package pair has the tests of our initiator with our target, which do not import
// each other. What each of them does with other programs, their own tests show.
package pair
