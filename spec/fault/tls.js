// Take TCP connections at 127.0.0.1 and pass them on as TLS: node tls.js PORT TO_PORT.
// So the laboratory's people can come by wss.
const net = require('net')
const tls = require('tls')

const [port, to] = process.argv.slice(2).map(Number)

net.createServer({ allowHalfOpen: true }, (near) => {
  const far = tls.connect({ port: to, host: '127.0.0.1', rejectUnauthorized: false, allowHalfOpen: true })
  const drop = () => {
    near.destroy()
    far.destroy()
  }
  near.on('error', drop)
  far.on('error', drop)
  near.pipe(far)
  far.pipe(near)
}).listen(port, '127.0.0.1', () => console.log('passing on'))
