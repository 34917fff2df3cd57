// The mixing functions behind dropout's masks, for the CPU's kernels and CUDA's alike, so that both drop
// the same elements. INLINE is defined before; U is a number of 32 bits, or a vector of such.

// Wellons' "lowbias32", with the better constants found later.
template <typename U>
INLINE U mix32(U x) {
  x ^= x >> 16;
  x *= 0x21f0aaadu;
  x ^= x >> 15;
  x *= 0x735a2d97u;
  x ^= x >> 15;
  return x;
}

// SplitMix64's.
INLINE unsigned long long mix64(unsigned long long x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}
