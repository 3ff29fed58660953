//! How much memory this process has used.

/// Peak resident memory of this process in bytes, file pages included; none where the system
/// does not tell (anything but Linux).
pub fn max_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn touched_memory_counts() {
        let before = max_rss_bytes().unwrap();
        let mut block = vec![0_u8; 64 << 20];
        for i in (0..block.len()).step_by(4096) {
            block[i] = 1;
        }
        let after = max_rss_bytes().unwrap();
        assert!(std::hint::black_box(&block)[4096] == 1);
        assert!(after >= before + (48 << 20), "{before} then {after}");
    }
}
