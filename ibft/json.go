package ibft

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// clearTarget is a target whose secrets are no Secrets any more: its fields take the place of those they shadow.
type clearTarget struct {
	*Target
	CHAPSecret        string `json:"chap_secret,omitzero"`
	ReverseCHAPSecret string `json:"reverse_chap_secret,omitzero"`
}

type clearTable struct {
	*Table
	Targets []clearTarget `json:"targets,omitzero"`
}

// RevealJSON returns the table's JSON form with its secrets in clear. Like that of json.Marshal, which masks them,
// it reads back by json.Unmarshal; the masked form does not, except where there are no secrets.
func (t *Table) RevealJSON() ([]byte, error) {
	clear := clearTable{Table: t}
	for i := range t.Targets {
		target := &t.Targets[i]
		secret, reverse := target.CHAPSecret.Reveal(), target.ReverseCHAPSecret.Reveal()
		if !utf8.ValidString(secret) || !utf8.ValidString(reverse) {
			return nil, fmt.Errorf("ibft: target %d: a secret is not UTF-8, which JSON cannot hold", i)
		}
		clear.Targets = append(clear.Targets, clearTarget{target, secret, reverse})
	}
	return json.Marshal(clear)
}
