// Waves as mmcourse.audio holds them: 8000 samples a second, two channels, 10,080 samples. No page, no network.

export const RATE = 8000;
export const LENGTH = 10080;
const FRAME = 512;

/** Two channels: the same twice, or the first two. `wave` is an array of channels. */
export const twoChannels = (wave) => (wave.length >= 2 ? wave.slice(0, 2) : [wave[0], wave[0]]);

/** Cut or filled with silence to `length`; of a longer wave the loudest stretch, the same in all channels. */
export function fitLength(wave, length = LENGTH) {
  const n = wave[0].length;
  if (n <= length) {
    return wave.map((channel) => {
      const out = new Float32Array(length);
      out.set(channel);
      return out;
    });
  }
  const loud = new Float64Array(n + 1);
  for (let i = 0; i < n; i++) loud[i + 1] = loud[i] + wave.reduce((sum, channel) => sum + channel[i] ** 2, 0);
  let first = 0;
  for (let i = 1; i + length <= n; i++) if (loud[i + length] - loud[i] > loud[first + length] - loud[first]) first = i;
  return wave.map((channel) => channel.slice(first, first + length));
}

/** As a network hears it: (2, 10080) in [-1, 1], from channels at 8000 samples a second. */
export function ready(wave) {
  const [left, right] = fitLength(twoChannels(wave));
  const out = new Float32Array(2 * LENGTH);
  out.set(left);
  out.set(right, LENGTH);
  return out.map((value) => Math.min(1, Math.max(-1, value)));
}

/** The mean power of the loudest 64 ms, in the louder channel, in dB beside a full-scale tone; at least -100. */
export function loudness(wave) {
  let loudest = 0;
  for (const channel of wave) {
    const mean = channel.reduce((sum, value) => sum + value, 0) / channel.length;
    for (let at = 0; at + FRAME <= channel.length; at += 160) {
      let power = 0;
      for (let i = at; i < at + FRAME; i++) power += (channel[i] - mean) ** 2;
      loudest = Math.max(loudest, power / FRAME);
    }
  }
  return 10 * Math.log10(Math.max(2 * loudest, 1e-10));
}

/** A stereo WAV file (16 bits) of a wave (2, 10080). */
export function wavBytes(wave) {
  const n = wave.length / 2;
  const view = new DataView(new ArrayBuffer(44 + 4 * n));
  const text = (at, letters) => [...letters].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 4 * n, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 2, true);
  view.setUint32(24, RATE, true);
  view.setUint32(28, 4 * RATE, true);
  view.setUint16(32, 4, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 4 * n, true);
  for (let i = 0; i < n; i++) {
    for (let c = 0; c < 2; c++) view.setInt16(44 + 4 * i + 2 * c, Math.round(32767 * wave[c * n + i]), true);
  }
  return view;
}
