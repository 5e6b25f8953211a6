package boot

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// keptLease is an address that a DHCP server has lent to the machine, and that its disk depends on.
type keptLease struct {
	IfIndex int
	ACK     []byte // as received
}

// Bounds of the pause between two renewals: servers that lend for seconds are not to be flooded, and a server that is away is
// asked again often enough.
const (
	minRenewal   = 10 * time.Second
	maxRenewal   = 24 * time.Hour
	renewPatient = 30 * time.Second
)

// keep renews the lease at half its time (RFC 2131, 4.4.5) until ctx ends. Whatever becomes of it the address stays on the
// interface: without it the machine has no disk.
func (l keptLease) keep(ctx context.Context, log *slog.Logger) {
	ack, err := dhcpv4.FromBytes(l.ACK)
	if err != nil {
		log.Error("the lease cannot be read", "err", err)
		return
	}
	log = log.With("address", ack.YourIPAddr.String())
	next := renewal(ack)
	for failed := false; ; {
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		renewed, err := l.renew(ctx, ack)
		if err != nil {
			if !failed {
				log.Warn("the lease was not renewed; the address stays in use, and the server is asked again", "err", err)
			}
			failed, next = true, max(min(renewal(ack)/4, 5*time.Minute), minRenewal)
			continue
		}
		if failed {
			log.Info("the lease is renewed again")
		}
		ack, failed, next = renewed, false, renewal(renewed)
	}
}

// renewal is when to renew a lease, from its beginning.
func renewal(ack *dhcpv4.DHCPv4) time.Duration {
	return min(max(ack.IPAddressRenewalTime(ack.IPAddressLeaseTime(time.Hour)/2), minRenewal), maxRenewal)
}

// renew asks for the lease once more.
func (l keptLease) renew(ctx context.Context, ack *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, error) {
	ctx, cancel := context.WithTimeout(ctx, renewPatient)
	defer cancel()
	i, err := net.InterfaceByIndex(l.IfIndex)
	if err != nil {
		return nil, err
	}
	client, err := nclient4.New(i.Name)
	if err != nil {
		return nil, fmt.Errorf("DHCP on %s: %w", i.Name, err)
	}
	defer client.Close()
	lease, err := client.Renew(ctx, &nclient4.Lease{Offer: ack, ACK: ack}, dhcpv4.WithOption(dhcpv4.OptClassIdentifier(VendorClass)))
	if err != nil {
		return nil, fmt.Errorf("DHCP on %s: %w", i.Name, err)
	}
	if !lease.ACK.YourIPAddr.Equal(ack.YourIPAddr) {
		return nil, fmt.Errorf("DHCP on %s: the server now lends %v", i.Name, lease.ACK.YourIPAddr)
	}
	return lease.ACK, nil
}
