fn main() {
    println!("{} {:?} {:?}", covalign::libtorch::version(), covalign::libtorch::path(), covalign::libtorch::load_cuda());
}
