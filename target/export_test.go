package target

import "encoding/json"

// KeptReservations reads a file of reservations and returns what it would be
// written as.
func KeptReservations(path string) ([]byte, error) {
	r, err := loadReservations(path)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(r.state(), "", "\t")
	return append(text, '\n'), err
}
