//go:build !bootlun_small

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/bootlun/bootlun/ibft"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// tableYAML returns the table as YAML: the JSON form, written so.
func tableYAML(table *ibft.Table, reveal bool) ([]byte, error) {
	b, err := tableJSON(table, reveal)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(b)
}

// parseYAML reads the form that tableYAML writes. What looks like a number may stand where a table has text, and stays
// as it is written: lun: 1, chap_name: 0017.
func parseYAML(text []byte) (*ibft.Table, error) {
	d := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict(), yaml.CustomUnmarshaler(yamlString))
	table := new(ibft.Table)
	switch err := d.Decode(table); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("yaml: nothing in it")
	case err != nil:
		return nil, yamlError(err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("yaml: more than one table")
	}
	return table, nil
}

// yamlError leaves out the lines in question, which the library's errors show: they may hold a secret.
func yamlError(err error) error {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		return fmt.Errorf("yaml: line %d: %s", at.GetToken().Position.Line, at.GetMessage())
	}
	return fmt.Errorf("yaml: %w", err)
}

// yamlString reads a string. What YAML takes for a number or a truth value is the string that it is written as.
func yamlString(to *string, b []byte) error {
	var v any
	if err := yaml.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case string:
		*to = v
	case nil:
		*to = ""
	case []any, map[string]any:
		return errors.New("a list or a mapping, want text")
	default:
		*to = yamlLiteral(b)
	}
	return nil
}

// yamlLiteral returns a scalar without quotes as it is written.
func yamlLiteral(b []byte) string {
	for _, t := range lexer.Tokenize(string(b)) {
		if t.Type != token.CommentType {
			return t.Value
		}
	}
	return ""
}
