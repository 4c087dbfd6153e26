package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/host"
	"mailsrv/server/config"
)

func init() {
	register(Check{Name: "environment", Stage: Local, Limit: 10 * time.Second, Run: environment})
}

func environment(ctx context.Context, c *Case) []diag.Finding {
	var out []diag.Finding
	if !c.Built.IsZero() && c.Now.Before(c.Built) {
		out = append(out, diag.New("env.clock_wrong", "", diag.Evidence{"now": c.Now.Format(time.RFC3339), "built": c.Built.Format(time.RFC3339)}))
	}
	if c.Hidden {
		out = append(out, diag.New("env.admin_missing", c.Config.DataDir, diag.Evidence{"what": "data", "path": c.Config.DataDir}))
	}
	if c.Readable() && !c.Hidden {
		out = append(out, c.dataDir()...)
		out = append(out, c.room()...)
		out = append(out, c.fileLimit()...)
	}
	if c.Running && !c.Hidden {
		out = append(out, c.addressChanged()...)
	}
	lab := len(c.Resolvers) > 0 || c.DialMap != nil // which has its own network
	if c.Stage >= LAN && len(c.Addresses) == 0 && !c.LocalOnly() && !lab {
		f := diag.New("env.no_address", "", nil)
		if c.Stage >= Internet { // no mail comes in or goes out
			f = f.As(diag.Fail)
		}
		out = append(out, f)
	}
	return out
}

// dataDir judges the data directory: can it be written, who else can, where it
// lies.
func (c *Case) dataDir() []diag.Finding {
	dir := c.Config.DataDir
	abs, err := filepath.Abs(dir)
	if err != nil {
		abs = dir
	}
	a := host.Directory(dir)
	if !a.Writable {
		return []diag.Finding{diag.New("env.data_dir_unwritable", dir, diag.Evidence{
			"path": abs, "component": a.Nearest, "exists": a.Exists, "errno": dial.Errno(a.Err), "reason": reason(a.Err),
		})}
	}
	var out []diag.Finding
	if info, err := os.Stat(dir); err == nil && a.Exists {
		out = append(out, c.dataDirOpen(dir, info)...)
	}
	return append(out, location(dir, abs)...)
}

// reason names an error by its number, for texts to choose by.
func reason(err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "read-only"
	case errors.Is(err, syscall.ENOTDIR):
		return "not-a-directory"
	case errors.Is(err, fs.ErrPermission):
		return "permission"
	}
	return "other"
}

func (c *Case) dataDirOpen(dir string, info os.FileInfo) []diag.Finding {
	var out []diag.Finding
	if runtime.GOOS != "windows" {
		mode := info.Mode().Perm()
		ev := diag.Evidence{"path": dir, "mode": fmt.Sprintf("%04o", mode)}
		switch {
		case mode&0o002 != 0:
			out = append(out, diag.New("env.data_dir_open", dir, ev).As(diag.Fail).With("writable", true))
		case mode&0o005 != 0:
			out = append(out, diag.New("env.data_dir_open", dir, ev))
		}
	}
	if c.Running {
		p, ok := host.ProcessOf(c.Server.PID)
		if owner := ownerOf(info); ok && owner != "" && p.User != "" && p.User != "root" && owner != p.User {
			out = append(out, diag.New("env.data_dir_owner", dir, diag.Evidence{"path": dir, "owner": owner, "server_user": p.User}))
		}
	}
	return out
}

// location says where data should not lie.
func location(dir, abs string) []diag.Finding {
	why, status := "", diag.Warn
	v, err := host.VolumeOf(dir)
	switch {
	case err == nil && v.Network:
		why = "network"
	case syncFolder(abs) != "":
		why = "sync"
	case underAny(abs, systemDirs()):
		why = "system"
	case underAny(abs, tempDirs()):
		why, status = "temporary", diag.Info
	default:
		return nil
	}
	return []diag.Finding{diag.New("env.data_dir_location", dir, diag.Evidence{"path": abs, "where": why, "file_system": v.FSType, "service": syncFolder(abs)}).As(status)}
}

// syncFolder names the service that keeps a folder in step with others.
func syncFolder(abs string) string {
	known := []struct{ part, name string }{
		{"onedrive", "OneDrive"}, {"dropbox", "Dropbox"}, {"google drive", "Google Drive"}, {"googledrive", "Google Drive"},
		{"my drive", "Google Drive"}, {"icloud drive", "iCloud Drive"}, {"iclouddrive", "iCloud Drive"}, {"com~apple~clouddocs", "iCloud Drive"},
		{"nextcloud", "Nextcloud"}, {"syncthing", "Syncthing"},
	}
	for part := range strings.SplitSeq(strings.ToLower(filepath.ToSlash(abs)), "/") {
		for _, k := range known {
			if part == k.part || strings.HasPrefix(part, k.part+" ") {
				return k.name
			}
		}
	}
	return ""
}

func systemDirs() []string {
	if runtime.GOOS == "windows" {
		return []string{os.Getenv("SystemRoot"), os.Getenv("ProgramFiles"), os.Getenv("ProgramFiles(x86)")}
	}
	return []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr/bin", "/usr/lib", "/usr/sbin", "/usr/share", "/System", "/Library/Apple", "/Applications"}
}

func tempDirs() []string { return []string{os.TempDir(), "/tmp", "/var/tmp", "/private/tmp"} }

// underAny tells whether path is one of dirs or lies below one.
func underAny(path string, dirs []string) bool {
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

// room judges what the volume of the data directory has left, measured in
// messages of the greatest size allowed.
func (c *Case) room() []diag.Finding {
	v, err := host.VolumeOf(c.Config.DataDir)
	if err != nil || v.Size == 0 { // no volume that holds files, such as /proc
		return nil // data_dir_unwritable has said what is wrong
	}
	if c.volume != nil {
		c.volume(&v)
	}
	var out []diag.Finding
	message := uint64(max(c.Config.Limits.MessageSize, 0))
	ev := diag.Evidence{"path": v.Path, "free": v.Free, "message_size": message, "free_text": config.FormatSize(int64(min(v.Free, 1<<62))), "message_text": config.FormatSize(int64(message))}
	switch {
	case v.Size < message:
		size := diag.Evidence{"value": message, "value_text": ev["message_text"], "disk": v.Size, "disk_text": config.FormatSize(int64(v.Size))}
		out = append(out, diag.New("config.message_size_high", "limits.message_size", size))
	case v.Free < message:
		out = append(out, diag.New("env.disk_full", v.Path, ev))
	case v.Free/10 < message:
		out = append(out, diag.New("env.disk_low", v.Path, ev))
	}
	if v.Inodes > 0 && v.FreeInodes < 1000 {
		f := diag.New("env.inodes_low", v.Path, diag.Evidence{"path": v.Path, "free_inodes": v.FreeInodes})
		if v.FreeInodes < 50 {
			f = f.As(diag.Fail)
		}
		out = append(out, f)
	}
	return out
}

// addressChanged looks for addresses that the server took when it started and
// that this machine has no more: nobody can connect there. Before the start it
// is port.address_not_local.
func (c *Case) addressChanged() []diag.Finding {
	settings := map[netip.Addr][]string{}
	var gone []netip.Addr
	for _, l := range c.Config.Listen {
		ip := l.IP()
		if !ip.IsValid() || ip.IsUnspecified() || len(c.Addresses) == 0 || c.Own(ip) || !c.announced(l) {
			continue
		}
		if settings[ip] == nil {
			gone = append(gone, ip)
		}
		settings[ip] = append(settings[ip], "listen."+l.Service)
	}
	var out []diag.Finding
	for _, ip := range gone {
		out = append(out, diag.New("env.address_changed", ip.String(), diag.Evidence{"address": ip.String(), "settings": settings[ip], "own": texts(c.Addresses)}))
	}
	return out
}

// fileLimit holds the limit of open files against the connections allowed: each
// takes one, and one more while its message is written.
func (c *Case) fileLimit() []diag.Finding {
	const others = 100
	need := uint64(c.Config.Limits.Connections + others)
	pid := 0
	if c.Running {
		pid = c.Server.PID
	}
	soft, hard, err := host.FileLimit(pid)
	have := hard // the server raises its own to the hard limit
	if c.Running {
		have = soft
	}
	if err != nil || have >= need {
		return nil
	}
	return []diag.Finding{diag.New("env.fd_limit", "", diag.Evidence{"limit": have, "need": need, "connections": c.Config.Limits.Connections})}
}
