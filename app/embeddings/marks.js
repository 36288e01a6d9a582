// Hands what the server knows to scatter.js: its selection (bits, seq), pictures of points and notes. Light messages of
// their own, so that the many coordinates travel once.
export default function ({ data: [data] }) {
  globalThis.maclScatter = data;
  globalThis.dispatchEvent(new Event("macl-scatter"));
}
