package store

import "mailsrv/server/store/journal"

// TenantMark is the first octet of a record that belongs to Maildirs.Tenant. A
// record of the store begins with the length of a name, which is never 0.
const TenantMark = 0

// shared is the owner of a journal that holds records of mailboxes and of a
// tenant, so that both become durable with the same syncs.
type shared struct {
	mail   *replay
	tenant journal.Owner
}

func (s *shared) ofTenant(data []byte) bool {
	return s.tenant != nil && len(data) > 0 && data[0] == TenantMark
}

// Restore implements journal.Owner.
func (s *shared) Restore(data []byte, placed bool) (journal.Item, error) {
	if s.ofTenant(data) {
		return s.tenant.Restore(data, placed)
	}
	return s.mail.Restore(data, placed)
}

// Settle implements journal.Owner.
func (s *shared) Settle(items []journal.Item) error {
	var mail, others []journal.Item
	for _, i := range items {
		if _, ours := i.(*item); ours {
			mail = append(mail, i)
		} else {
			others = append(others, i)
		}
	}
	if len(others) > 0 {
		if err := s.tenant.Settle(others); err != nil {
			return err
		}
	}
	if len(mail) == 0 {
		return nil
	}
	return s.mail.Settle(mail)
}

// Repair implements journal.Owner.
func (s *shared) Repair(i journal.Item, data []byte) error {
	if s.ofTenant(data) {
		return s.tenant.Repair(i, data)
	}
	return s.mail.Repair(i, data)
}
