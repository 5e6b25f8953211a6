package ibft

import (
	"encoding"
	"fmt"
	"reflect"
	"testing"
)

// Every type's text form reads back as the same value.
func TestTextForms(t *testing.T) {
	for _, tt := range []struct {
		value encoding.TextMarshaler
		text  string
	}{
		{LUN{}, "0"},
		{LUN{0, 1}, "1"},
		{LUN{0x41, 0x86, 0, 9}, "4186-9"},
		{LUN{7: 1}, "0-0-0-1"},
		{NewLUN(1), "1"},
		{NewLUN(255), "ff"},
		{NewLUN(256), "4100"},
		{OriginDHCP, "dhcp"},
		{OriginUnchanged, "unchanged"},
		{OriginUnchangedEDK2, "unchanged-16"},
		{Origin(77), "77"},
		{CHAPNone, "none"},
		{CHAPMutual, "mutual"},
		{CHAPType(9), "9"},
		{ControlFlags(0), "none"},
		{SingleLogin, "single-login"},
		{InitiatorFlags(Valid), "valid"},
		{NICFlags(Valid | BootSelected | Global), "valid,boot-selected,global"},
		{TargetFlags(BootSelected | RADIUSCHAP | RADIUSReverseCHAP), "boot-selected,radius-chap,radius-reverse-chap"},
		{TargetFlags(0xf1), "valid,0xf0"},
		{MAC{0x52, 0x54, 0, 0x12, 0x34, 0x56}, "52:54:00:12:34:56"},
		{PCIAddr(0x18), "00:03.0"},
		{PCIAddr(0xffff), "ff:1f.7"},
		{Bytes{0xca, 0xfe}, "cafe"},
		{LayoutEDK2, "edk2"},
		{RootPath{"192.0.2.1", "", 3260, LUN{}, "iqn"}, "iscsi:192.0.2.1::::iqn"},
	} {
		text, err := tt.value.MarshalText()
		if err != nil || string(text) != tt.text {
			t.Errorf("%T %#v: text %q, %v; want %q", tt.value, tt.value, text, err, tt.text)
		}
		again := reflect.New(reflect.TypeOf(tt.value))
		if err := again.Interface().(encoding.TextUnmarshaler).UnmarshalText(text); err != nil {
			t.Errorf("%T %q: %v", tt.value, text, err)
		} else if got := again.Elem().Interface(); !reflect.DeepEqual(got, tt.value) {
			t.Errorf("%T %q: read back as %v", tt.value, text, got)
		}
	}
}

func TestTextFormErrors(t *testing.T) {
	for _, tt := range []struct {
		into encoding.TextUnmarshaler
		text []string
	}{
		{new(LUN), []string{"x", "1-2-3-4-5", "-", "10000"}},
		{new(Origin), []string{"", "nowhere", "256"}},
		{new(CHAPType), []string{"", "md5", "-1"}},
		{new(NICFlags), []string{"radius-chap", "valid boot-selected", "0x100"}},
		{new(MAC), []string{"", "52:54", "52:54:00:12:34:56:78:9a"}},
		{new(PCIAddr), []string{"", "3", "00:03", "00:20.0", "00:03.8", "0001:00:03.0"}},
		{new(Bytes), []string{"x", "123"}},
		{new(Layout), []string{"", "ibm"}},
		{new(RootPath), []string{"", "iscsi:"}},
		{new(Secret), []string{mask}},
	} {
		for _, s := range tt.text {
			before := fmt.Sprint(tt.into)
			if err := tt.into.UnmarshalText([]byte(s)); err == nil {
				t.Errorf("%T takes %q", tt.into, s)
			}
			if after := fmt.Sprint(tt.into); after != before {
				t.Errorf("%T changed to %s by %q, which it refused", tt.into, after, s)
			}
		}
	}
}

func TestParsePCIAddr(t *testing.T) {
	if got, err := ParsePCIAddr("0000:00:1f.2"); err != nil || got != 0xfa {
		t.Errorf("%v, %v", got, err)
	}
}
