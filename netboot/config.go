package netboot

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/bootlun/bootlun/ibft"
)

// The defaults of a Config, and what has no setting.
const (
	DefaultHTTPPort  = 80
	DefaultTFTPPort  = 69
	DefaultLeaseTime = 24 * time.Hour

	maxPool           = 1 << 16
	minLeaseTime      = time.Minute
	dhcpListenAddress = "0.0.0.0:67"
)

// Config is what a server is to do. Only Addr is required; what is left out has the default that its comment names.
type Config struct {
	// Addr is the server's own address on the boot LAN with the LAN's prefix length, such as 10.0.0.1/24. IPv4.
	Addr netip.Prefix `yaml:"addr"`
	// Interface is the operating system's network interface that has Addr; empty to find it. Only HostNetwork reads it.
	Interface string `yaml:"interface"`
	// HTTPPort and TFTPPort are the ports at Addr; 0 means 80 and 69.
	HTTPPort uint16 `yaml:"httpPort"`
	TFTPPort uint16 `yaml:"tftpPort"`

	DHCP DHCP `yaml:"dhcp"`
	// Boot is what a machine starts that has nothing of its own.
	Boot Boot `yaml:"boot"`
	// LoaderDir is a folder with iPXE binaries for machines whose firmware is not iPXE, under the names iPXE builds
	// them by: undionly.kpxe or ipxe.pxe (BIOS), snponly.efi or ipxe.efi (UEFI x86-64), and for other processors
	// snponly-arm64.efi, ipxe-arm64.efi, snponly-i386.efi, ipxe-i386.efi. Empty: such machines get no loader.
	LoaderDir string `yaml:"loaderDir"`
	// Machines are the machines that are known. At most one has no MAC: it stands for every machine not listed.
	Machines []Machine `yaml:"machines"`

	// Resolve looks up the servers of root paths for tables; nil means the operating system's resolver.
	Resolve ibft.Resolver `yaml:"-"`
	// Events, if not nil, is called for every notable thing, one call at a time. It must not block.
	Events func(Event) `yaml:"-"`
	// Logger gets one line an event; nil discards them.
	Logger *slog.Logger `yaml:"-"`
}

// DHCP says which addresses to give to whom.
type DHCP struct {
	// Disabled leaves addresses to another DHCP server, which then has to name our boot script as well.
	Disabled bool `yaml:"disabled"`
	// Proxy leaves addresses to another DHCP server of the LAN, which need not know of us: firmware and iPXE are told
	// what to load, and no more (PXE 2.1, 2.2.3: a proxy DHCP server). Machines with rootPaths are handed a table.
	Proxy bool `yaml:"proxy"`
	// Subnet is the boot LAN's; default: Addr's.
	Subnet netip.Prefix `yaml:"subnet"`
	// PoolStart to PoolEnd (inclusive) are given to machines without a reserved address; default: the subnet's upper
	// half. Addresses in it that are reserved, the server's or the router's are left out.
	PoolStart netip.Addr `yaml:"poolStart"`
	PoolEnd   netip.Addr `yaml:"poolEnd"`
	// Router, DNS and Domain are told to the machines; default: none.
	Router netip.Addr   `yaml:"router"`
	DNS    []netip.Addr `yaml:"dns"`
	Domain string       `yaml:"domain"`
	// LeaseTime is how long an address is a machine's without being asked for again; default 24 h, at least 1 min.
	// A system that took its address from the iBFT may never ask again, so short times are for tests.
	LeaseTime time.Duration `yaml:"leaseTime"`
	// LeaseFile remembers the leases across restarts (JSON, replaced atomically); empty: they are not remembered.
	LeaseFile string `yaml:"leaseFile"`
	// Secrets allows CHAP secrets in DHCP answers to our own init, readable by everybody on the LAN. Without it they
	// travel in the machine's table, over HTTP, to the machine's own address.
	Secrets bool `yaml:"secrets"`
}

// leases reports whether addresses are given out here.
func (d DHCP) leases() bool { return !d.Disabled && !d.Proxy }

// Boot is a kernel and what goes with it.
type Boot struct {
	// Kernel and Initramfs are paths of files.
	Kernel    string `yaml:"kernel"`
	Initramfs string `yaml:"initramfs"`
	// Cmdline is the kernel's command line, such as "console=ttyS0 bootlun.failure=reboot". BOOTIF and initrd are
	// added. iPXE settings (${net0/ip}) are expanded by iPXE.
	Cmdline string `yaml:"cmdline"`
}

// Mode says how a machine starts.
type Mode string

// The modes.
const (
	ModeImage   Mode = "image"   // our kernel and image; our init attaches the LUN
	ModeKernel  Mode = "kernel"  // a distribution's kernel and initramfs, its table put before the initramfs
	ModeSANBoot Mode = "sanboot" // iPXE attaches the LUN and starts its boot sector (int 13h)
)

// Machine is one machine. Name, RootPaths and InitiatorName may hold {mac} (hyphens, lower case: 52-54-00-12-34-56),
// RootPaths and InitiatorName also {ip} and {name}; a machine without a name has its {mac} for {name}.
type Machine struct {
	// Name is the machine's host name; optional.
	Name string `yaml:"name"`
	// MAC is the address of the NIC that it boots from. None: this is the default machine.
	MAC ibft.MAC `yaml:"mac"`
	// IP is reserved for it; optional.
	IP netip.Addr `yaml:"ip"`
	// InitiatorName is its iSCSI name. Required where its kernel is handed its table: by ModeKernel, and by ModeImage
	// with CHAP or, if another server gives addresses out, with RootPaths; else its init or its firmware has a default.
	InitiatorName string `yaml:"initiatorName"`
	// RootPaths are the paths to its disk as ibft.ParseRootPath reads them (RFC 4173, section 5), the preferred one
	// first.
	RootPaths []string `yaml:"rootPaths"`
	// CHAPName and CHAPSecret let the machine prove itself, the reverse ones let the target. A secret may be read from
	// a file instead; white space at that file's end does not count.
	CHAPName              string      `yaml:"chapName"`
	CHAPSecret            ibft.Secret `yaml:"chapSecret"`
	CHAPSecretFile        string      `yaml:"chapSecretFile"`
	ReverseCHAPName       string      `yaml:"reverseChapName"`
	ReverseCHAPSecret     ibft.Secret `yaml:"reverseChapSecret"`
	ReverseCHAPSecretFile string      `yaml:"reverseChapSecretFile"`
	// Mode is how it starts; default ModeImage.
	Mode Mode `yaml:"mode"`
	// Kernel, Initramfs and Cmdline are used in place of Boot's.
	Kernel    string `yaml:"kernel"`
	Initramfs string `yaml:"initramfs"`
	Cmdline   string `yaml:"cmdline"`
	// Handoff is what our init starts from the LUN (bootlun.handoff=): "switch_root", "kexec" or "int13h"; empty leaves
	// that to Cmdline. Entry is which entry of the LUN's own boot loader, by title, identifier or number (bootlun.entry=),
	// and Menu how long to show them: "5s", "0", "wait" (bootlun.menu=). For ModeImage; Entry and Menu for "kexec".
	Handoff string `yaml:"handoff"`
	Entry   string `yaml:"entry"`
	Menu    string `yaml:"menu"`
}

func (c Config) resolver() ibft.Resolver {
	if c.Resolve != nil {
		return c.Resolve
	}
	return func(ctx context.Context, host string) ([]netip.Addr, error) { return defaultResolver(ctx, host) }
}
